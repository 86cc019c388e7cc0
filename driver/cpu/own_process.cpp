// SPDX-License-Identifier: Apache-2.0
#include "own_process.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "sluice/base/units.hpp"

namespace sluice::inline cpu {
namespace {

constexpr std::size_t kPage = kPageSize.value();

}  // namespace

OwnProcess::OwnProcess() : id_(::getpid()) {
  void* const page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (::madvise(page, kPage, MADV_WIPEONFORK) == 0) {
    mark_ = new (page) std::atomic<bool>(true);
  } else {
    ::munmap(page, kPage);
  }
}

OwnProcess::~OwnProcess() {
  if (mark_ != nullptr) ::munmap(mark_, kPage);
}

bool OwnProcess::asks() const { return ::getpid() == id_; }

}  // namespace sluice::inline cpu
