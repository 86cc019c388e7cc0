// SPDX-License-Identifier: Apache-2.0
// Command lines of QEMU: what they say of memory, and how they look with that of a lease.
#include "sluice/vmm/qemu_arguments.hpp"

#include <gmock/gmock.h>

#include <sstream>

namespace sluice::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Words = std::vector<std::string>;

/// Separated by blanks.
Words words(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}
QemuPlan plan_of(const std::string& line) {
  auto plan = plan_qemu(words(line));
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? std::move(*plan) : QemuPlan();
}
std::string refusal_of(const std::string& line) {
  const auto plan = plan_qemu(words(line));
  EXPECT_FALSE(plan) << line;
  if (plan) return {};
  EXPECT_EQ(plan.error().code, HostErrc::InvalidArgument);
  return plan.error().message;
}
/// The bricks that the plan asks for, with the descriptors 40, 41 and so on, and 50 as the monitor.
std::string line_with_memory(const QemuPlan& plan) {
  std::vector<QemuBrick> bricks;
  for (const ByteCount length : plan.bricks()) bricks.push_back({40 + static_cast<int>(bricks.size()), length});
  const auto arguments = with_memory(plan, bricks, 50);
  EXPECT_TRUE(arguments) << arguments.error().message;
  std::string line;
  if (!arguments) return line;
  for (const std::string& word : *arguments) line += (line.empty() ? "" : " ") + word;
  return line;
}

const std::string kMonitor =
    " -chardev socket,id=sluice-monitor,fd=50,server=on,wait=off -mon chardev=sluice-monitor,mode=control";

/// libvirt 9.0 starts a VM: one backend in JSON.
const std::string kLibvirtBegin =
    R"(-name guest=web1,debug-threads=on -S )"
    R"(-object {"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/domain-1-web1/master-key.aes"} )"
    R"(-machine pc-i440fx-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram -accel kvm -cpu qemu64 -m 512 )";
const std::string kLibvirtEnd =
    R"( -overcommit mem-lock=off -smp 1,sockets=1,cores=1,threads=1 -uuid 11111111-2222-3333-4444-5555555555aF )"
    R"(-no-user-config -nodefaults -chardev socket,id=charmonitor,fd=33,server=on,wait=off )"
    R"(-mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc -no-shutdown -boot strict=on )"
    R"(-device {"driver":"piix3-usb-uhci","id":"usb","bus":"pci.0","addr":"0x1.0x2"} )"
    R"(-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny -msg timestamp=on)";

TEST(QemuArguments, OfLibvirtHaveTheirBackendReplacedAtItsPlace) {
  const QemuPlan plan = plan_of(kLibvirtBegin +
                                R"(-object {"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,)"
                                R"("x-use-canonical-path-for-ramblock-id":false,"size":536870912})" +
                                kLibvirtEnd);
  EXPECT_FALSE(plan.as_it_is);
  EXPECT_EQ(plan.name, "web1");
  EXPECT_EQ(to_string(plan.uuid), "11111111-2222-3333-4444-5555555555af");
  EXPECT_THAT(plan.bricks(), ElementsAre(ByteCount(512ULL << 20)));
  EXPECT_FALSE(plan.takes_any_bricks());
  EXPECT_EQ(line_with_memory(plan), kLibvirtBegin +
                                        R"(-object {"qom-type":"memory-backend-file","id":"pc.ram","size":536870912,)"
                                        R"("share":true,"prealloc":false,"mem-path":"/proc/self/fd/40",)"
                                        R"("x-use-canonical-path-for-ramblock-id":false})" +
                                        kLibvirtEnd + kMonitor);
}

TEST(QemuArguments, OfLibvirtHaveEachNodeAndEachDimmInABrick) {
  const QemuPlan plan = plan_of(
      R"(-machine pc-q35-7.2 -m size=1048576k,slots=16,maxmem=8388608k )"
      R"(-object {"qom-type":"memory-backend-ram","id":"ram-node0","size":536870912,"host-nodes":[0],"policy":"bind"} )"
      R"(-numa node,nodeid=0,cpus=0,memdev=ram-node0 )"
      R"(-object {"qom-type":"memory-backend-file","id":"ram-node1","mem-path":"/var/lib/libvirt/qemu/ram/ram-node1","prealloc":true,"prealloc-threads":2,"size":536870912} )"
      R"(-numa node,nodeid=1,cpus=1,memdev=ram-node1 )"
      R"(-object {"qom-type":"memory-backend-memfd","id":"memdimm0","reserve":true,"dump":false,"size":134217728} )"
      R"(-device {"driver":"pc-dimm","node":0,"memdev":"memdimm0","id":"dimm0","slot":0})");
  EXPECT_THAT(plan.bricks(), ElementsAre(ByteCount(512ULL << 20), ByteCount(512ULL << 20), ByteCount(128ULL << 20)));
  EXPECT_EQ(
      line_with_memory(plan),
      R"(-machine pc-q35-7.2 -m size=1048576k,slots=16,maxmem=8388608k )"
      R"(-object {"qom-type":"memory-backend-file","id":"ram-node0","size":536870912,"share":true,"prealloc":false,"mem-path":"/proc/self/fd/40","host-nodes":[0],"policy":"bind"} )"
      R"(-numa node,nodeid=0,cpus=0,memdev=ram-node0 )"
      R"(-object {"qom-type":"memory-backend-file","id":"ram-node1","size":536870912,"share":true,"prealloc":false,"mem-path":"/proc/self/fd/41"} )"
      R"(-numa node,nodeid=1,cpus=1,memdev=ram-node1 )"
      R"(-object {"qom-type":"memory-backend-file","id":"memdimm0","size":134217728,"share":true,"prealloc":false,"mem-path":"/proc/self/fd/42","dump":false} )"
      R"(-device {"driver":"pc-dimm","node":0,"memdev":"memdimm0","id":"dimm0","slot":0})" +
          kMonitor);
}

TEST(QemuArguments, OfPeopleStayAsKeysAndValues) {
  const QemuPlan plan = plan_of(
      "--name web,,2 -M q35,memory-backend=ram0 -object qom-type=memory-backend-ram,id=ram0,size=2G,merge=off "
      "-object memory-backend-memfd,id=ram1,size=128M,share=on,hugetlb=off -device pc-dimm,memdev=ram1 -m "
      "2G,slots=1,maxmem=4G disk.img");
  EXPECT_EQ(plan.name, "web,2");
  EXPECT_FALSE(plan.uuid.is_set());
  EXPECT_EQ(line_with_memory(plan),
            "--name web,,2 -M q35,memory-backend=ram0 -object memory-backend-file,id=ram0,size=2147483648,share=on,"
            "prealloc=off,mem-path=/proc/self/fd/40,merge=off "
            "-object memory-backend-file,id=ram1,size=134217728,share=on,prealloc=off,mem-path=/proc/self/fd/41 "
            "-device pc-dimm,memdev=ram1 -m 2G,slots=1,maxmem=4G disk.img" +
                kMonitor);
}

TEST(QemuArguments, WithoutABackendGetOneThatTheMachineUses) {
  const QemuPlan plan = plan_of("-m 256 -bios x");
  EXPECT_TRUE(plan.takes_any_bricks());
  EXPECT_EQ(plan.base, ByteCount(256ULL << 20));
  EXPECT_EQ(line_with_memory(plan),
            "-m 256 -bios x -object memory-backend-file,id=sluice-memory,size=268435456,share=on,prealloc=off,"
            "mem-path=/proc/self/fd/40 -machine memory-backend=sluice-memory" +
                kMonitor);
}

TEST(QemuArguments, WithoutABackendGetNodesForSeveralBricks) {
  const QemuPlan plan = plan_of("-m 3G");
  const QemuBrick bricks[] = {{7, ByteCount(2 * kGiB.value())}, {8, kGiB}};
  EXPECT_THAT(*with_memory(plan, bricks, -1),
              ElementsAre("-m", "3G", "-object",
                          "memory-backend-file,id=sluice-memory0,size=2147483648,share=on,prealloc=off,"
                          "mem-path=/proc/self/fd/7",
                          "-numa", "node,nodeid=0,memdev=sluice-memory0", "-object",
                          "memory-backend-file,id=sluice-memory1,size=1073741824,share=on,prealloc=off,"
                          "mem-path=/proc/self/fd/8",
                          "-numa", "node,nodeid=1,memdev=sluice-memory1"));
}

TEST(QemuArguments, SayHowMuchMemoryThereIsInEachWayThatQemuReads) {
  for (const auto& [line, mib] :
       {std::pair{"-m 64", 64}, std::pair{"-m 1g", 1024}, std::pair{"-m size=2048k", 2},
        std::pair{"-m 64 -m slots=2,maxmem=1G", 64}, std::pair{"-m 64 -m 96", 96}, std::pair{"-m 0", 128},
        std::pair{"-S", 128}, std::pair{"-name -m", 128}, std::pair{"", 128}}) {
    EXPECT_EQ(plan_of(line).base, ByteCount(static_cast<std::uint64_t>(mib) << 20)) << line;
  }
  const QemuPlan both =
      plan_of("-m 64,slots=1,maxmem=1G -object memory-backend-ram,id=d,size=32M -device pc-dimm,memdev=d");
  EXPECT_THAT(both.bricks(), ElementsAre(ByteCount(32ULL << 20), ByteCount(64ULL << 20))) << "a dimm is not the base";
}

TEST(QemuArguments, WithoutAGuestStayAsTheyAre) {
  for (const std::string line :
       {"-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg -qmp unix:/x,server=on,wait=off "
        "-pidfile /y "
        "-daemonize",
        "-M none -m 64 -mem-prealloc", "-machine pc -machine type=none", "-version", "--version", "-m 64 -help", "-h",
        "-cpu help", "-M ?", "-machine pc,help", "-device pc-dimm,help", "-object help"}) {
    const QemuPlan plan = plan_of(line);
    EXPECT_TRUE(plan.as_it_is) << line;
    EXPECT_EQ(plan.arguments, words(line));
    EXPECT_THAT(plan.bricks(), IsEmpty());
  }
  for (const std::string line :
       {"-machine none -M pc", "-name help", "-name -version", "-machine pc", "-M q35,x=a,,help"}) {
    EXPECT_FALSE(plan_of(line).as_it_is) << line;
  }
}

TEST(QemuArguments, LeaveMemoryAloneThatIsNoRam) {
  const std::string line =
      "-m 64 -object memory-backend-file,id=nv,size=1G,share=on,mem-path=/srv/nv,pmem=on -device nvdimm,memdev=nv "
      "-object memory-backend-file,id=shm,size=1M,share=on,mem-path=/dev/shm/x "
      R"(-device {"driver":"ivshmem-plain","memdev":"shm"} )"
      "-object memory-backend-epc,id=sgx,size=8M";
  const QemuPlan plan = plan_of(line);
  EXPECT_THAT(plan.backends, IsEmpty());
  EXPECT_THAT(line_with_memory(plan), ::testing::StartsWith(line + " -object memory-backend-file,id=sluice-memory"));
}

TEST(QemuArguments, AreRefusedWhereTheGuestsMemoryWouldNotBeItsLeases) {
  const std::string begin = "-machine memory-backend=r -object memory-backend-ram,id=r,size=64M,";
  for (const auto& [line, expected] :
       {std::pair{begin + "share=off", "share=off"}, std::pair{begin + "share=no", "share=off"},
        std::pair{begin + "colour=red", "the property 'colour'"}, std::pair{begin + "hugetlb=on", "huge pages"},
        std::pair{begin + "hugetlbsize=2M", "huge pages"},
        std::pair{begin + "mem-path=/dev/hugepages/libvirt/qemu/1-a", "huge pages"},
        std::pair{std::string("-m 64 -mem-path /dev/shm"), "-mem-path: "},
        std::pair{std::string("-m 64 -mem-prealloc"), "-mem-prealloc: "},
        std::pair{std::string("-m 64 -readconfig x"), "-readconfig: "},
        std::pair{std::string("-m 64 -daemonize"), "-daemonize: "}}) {
    EXPECT_THAT(refusal_of(line), HasSubstr(expected)) << line;
    EXPECT_THAT(refusal_of(line), ContainsRegex("leave (it|that) out|write its options|in the background")) << line;
  }
  EXPECT_THAT(refusal_of(R"(-object {"qom-type":"memory-backend-memfd","id":"pc.ram","share":false,"size":536870912})"),
              HasSubstr("libvirt <access mode='private'/>"));
}

TEST(QemuArguments, AreRefusedWhereTheyMakeNoSense) {
  for (const auto& [line, expected] :
       {std::pair{"-m", "the option '-m' at the end has no value"}, std::pair{"-m 1.5G", "-m '1.5G'"},
        std::pair{"-m -5", "-m '-5'"}, std::pair{"-m 17179869184G", "-m '17179869184G'"}, std::pair{"-m 1k", "8KiB"},
        std::pair{"-uuid 1234", "-uuid '1234'"}, std::pair{"-uuid 00000000-0000-0000-0000-000000000000", "names no VM"},
        std::pair{"-object memory-backend-ram,id=a", "the size of memory-backend-ram 'a'"},
        std::pair{"-object memory-backend-ram,id=a,size=0", "the size of"},
        std::pair{"-object memory-backend-ram,id=a,size=4097", "the size of"},
        std::pair{"-object memory-backend-ram,size=4M", "has no id"},
        std::pair{"-object {\"qom-type\":\"memory-backend-ram\",\"id\":\"a\",\"size\":-1}", "the size of"},
        std::pair{"-object {\"qom-type\":", "is no JSON"}, std::pair{"-machine memory-backend=x", "memory-backend='x'"},
        std::pair{"-numa node,cpus=0", "-numa node without memdev"}}) {
    EXPECT_THAT(refusal_of(line), HasSubstr(expected)) << line;
  }
  std::string many;
  for (int count = 0; count < 128; ++count)
    many += "-object memory-backend-ram,size=2M,id=r" + std::to_string(count) + " ";
  EXPECT_THAT(refusal_of(many), HasSubstr("128 memory backends"));
}

TEST(QemuArguments, TakeNoBricksButThoseOfTheirPlan) {
  const QemuPlan base = plan_of("-m 64");
  const QemuPlan backend = plan_of("-m 64 -machine memory-backend=r -object memory-backend-ram,id=r,size=64M");
  const QemuPlan both =
      plan_of("-m 64,slots=1,maxmem=1G -object memory-backend-ram,id=d,size=32M -device pc-dimm,memdev=d");
  const auto refuses = [](const QemuPlan& plan, std::vector<QemuBrick> bricks) {
    const auto done = with_memory(plan, bricks, -1);
    return !done && done.error().code == HostErrc::InvalidArgument;
  };
  const ByteCount k32{32ULL << 20}, k64{64ULL << 20};
  EXPECT_TRUE(refuses(base, {}));
  EXPECT_TRUE(refuses(base, {{5, k32}}));
  EXPECT_TRUE(refuses(base, {{-1, k64}}));
  EXPECT_FALSE(refuses(base, {{5, k32}, {6, k32}}));
  EXPECT_TRUE(refuses(backend, {{5, k32}}));
  EXPECT_TRUE(refuses(backend, {{5, k64}, {6, k64}}));
  EXPECT_TRUE(refuses(both, {{5, k32}, {6, k32}, {7, k32}})) << "one node for the base: the dimm has none";
  EXPECT_TRUE(refuses(both, {{5, k32}}));
  EXPECT_FALSE(refuses(both, {{5, k32}, {6, k64}}));
  EXPECT_TRUE(refuses(plan_of("-version"), {{5, k32}}));
}

}  // namespace
}  // namespace sluice::test
