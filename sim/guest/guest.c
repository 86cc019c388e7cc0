/* SPDX-License-Identifier: Apache-2.0 */
// A guest that does what a test tells it over the first serial port: a line for each command, and a line as the answer.
//
//   hello                   boots N         since this memory was zeros; also said unasked after each start
//   mark TAG FIRST COUNT    marked N        a mark with this tag on every page
//   count TAG FIRST COUNT   found N         pages with such a mark, wherever in its memory a guest had made it
//   fill FIRST COUNT        filled N        bytes of every page
//   reboot | off | panic    nothing
//
// FIRST and COUNT are in MiB; memory below 16 MiB is the guest's own.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

enum { kSerial = 0x3f8, kLineStatus = kSerial + 5, kReceived = 1, kCanSend = 0x20 };
enum { kPage = 4096, kPagesPerMib = 256, kMarkOffset = 128, kFirstMib = 16 };

// At fixed addresses in memory: firmware has no variables.
struct boots {
  u32 known;
  u32 count;
};
#define BOOTS ((volatile struct boots*)0x100000)
#define BOOTS_KNOWN 0x51b00751u
#define LINE ((char*)0x90000)
#define MOST_LINE 80u

struct mark {
  u32 magic;
  u32 tag;
  u32 page;
  u32 check;
};
#define MARK_MAGIC 0x6d61726bu

static void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static u8 in8(u16 port) {
  u8 value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static u32 in32(u16 port) {
  u32 value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void put(char letter) {
  while ((in8(kLineStatus) & kCanSend) == 0) {
  }
  out8(kSerial, (u8)letter);
}
static char get(void) {
  while ((in8(kLineStatus) & kReceived) == 0) {
  }
  return (char)in8(kSerial);
}
static void say(const char* word, u32 number) {
  char digits[10];
  u32 count = 0;
  while (*word != 0) put(*word++);
  put(' ');
  do {
    digits[count++] = (char)('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) put(digits[--count]);
  put('\n');
}

/// Whether the command has this name; its arguments begin at *arguments then.
static int is(const char* name, const char** arguments) {
  const char* at = LINE;
  for (; *name != 0; ++name, ++at) {
    if (*name != *at) return 0;
  }
  *arguments = at;
  return *at == 0 || *at == ' ';
}
static u32 next_number(const char** text) {
  u32 number = 0;
  while (**text == ' ') ++*text;
  while (**text >= '0' && **text <= '9') number = number * 10 + (u32)(*(*text)++ - '0');
  return number;
}

static volatile struct mark* mark_of(u32 page) { return (volatile struct mark*)(page * kPage + kMarkOffset); }

static u32 set_marks(u32 tag, u32 first, u32 count) {
  for (u32 page = first; page < first + count; ++page) {
    volatile struct mark* const mark = mark_of(page);
    mark->magic = MARK_MAGIC;
    mark->tag = tag;
    mark->page = page;
    mark->check = tag ^ page ^ MARK_MAGIC;
  }
  return count;
}
static u32 count_marks(u32 tag, u32 first, u32 count) {
  u32 found = 0;
  for (u32 page = first; page < first + count; ++page) {
    const volatile struct mark* const mark = mark_of(page);
    const u32 expected = tag ^ mark->page ^ MARK_MAGIC;
    if (mark->magic == MARK_MAGIC && mark->tag == tag && mark->check == expected) ++found;
  }
  return found;
}
static u32 fill(u32 first, u32 count) {
  for (u32 page = first; page < first + count; ++page) {
    volatile u32* const words = (volatile u32*)(page * kPage);
    for (u32 word = 0; word < kPage / sizeof(u32); ++word) words[word] = page ^ word ^ MARK_MAGIC;
  }
  return count;
}

static void reboot(void) {
  out8(0xcf9, 2);  // The reset control register of PIIX3 and ICH9: first a hard reset, then now.
  out8(0xcf9, 6);
  // A second way, such as the keyboard controller's, would be a second reboot where the first one takes a moment.
  for (;;) __asm__ volatile("hlt");
}

/// The power management of PIIX4 (device 1, function 3) or ICH9 (device 31): to the state "soft off".
static void power_off(void) {
  enum { kAddress = 0xcf8, kData = 0xcfc, kIo = 0x600, kControl = kIo + 4, kSleep = 0x2000 };
  const u32 piix4 = 0x80000000u | 1u << 11 | 3u << 8;
  const u32 ich9 = 0x80000000u | 31u << 11;
  out32(kAddress, piix4);
  if (in32(kData) == 0x71138086u) {
    out32(kAddress, piix4 | 0x40);
    out32(kData, kIo | 1);
    out32(kAddress, piix4 | 0x80);
    out8(kData, 1);
  } else {
    out32(kAddress, ich9 | 0x40);
    out32(kData, kIo | 1);
    out32(kAddress, ich9 | 0x44);
    out8(kData, 0x80);
  }
  out16(kControl, kSleep);
}

static void obey(void) {
  const char* arguments = LINE;
  if (is("mark", &arguments) || is("count", &arguments) || is("fill", &arguments)) {
    const char what = LINE[0];
    const u32 tag = what == 'f' ? 0 : next_number(&arguments);
    const u32 first = next_number(&arguments);
    const u32 count = next_number(&arguments);
    if (first < kFirstMib) return say("wrong", first);
    if (what == 'm') return say("marked", set_marks(tag, first * kPagesPerMib, count * kPagesPerMib));
    if (what == 'c') return say("found", count_marks(tag, first * kPagesPerMib, count * kPagesPerMib));
    return say("filled", fill(first * kPagesPerMib, count * kPagesPerMib));
  }
  if (is("hello", &arguments)) return say("boots", BOOTS->count);
  if (is("reboot", &arguments)) return reboot();
  if (is("off", &arguments)) return power_off();
  if (is("panic", &arguments)) return out8(0x505, 1);  // the isa device pvpanic
  say("unknown", 0);
}

void guest_main(void) {
  if (BOOTS->known != BOOTS_KNOWN) {
    BOOTS->known = BOOTS_KNOWN;
    BOOTS->count = 0;
  }
  ++BOOTS->count;
  say("boots", BOOTS->count);
  for (;;) {
    u32 length = 0;
    for (char letter = get(); letter != '\n' && letter != '\r'; letter = get()) {
      if (length < MOST_LINE) LINE[length++] = letter;
    }
    LINE[length] = 0;
    obey();
  }
}
