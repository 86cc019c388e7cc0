// SPDX-License-Identifier: Apache-2.0
// sluice.h: memory, engines and ledgers.
#include <array>

#include "c_api.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "wrapped_engine.hpp"

using sluice::ByteCount;
using namespace sluice::c;  // NOLINT: the functions of C are in no namespace

namespace {

std::vector<sluice::MemorySpan> windows_of(const sluice::BackingMemory& memory) {
  std::vector<sluice::MemorySpan> windows;
  windows.reserve(memory.bricks().size());
  for (const sluice::Brick& brick : memory.bricks()) windows.push_back(brick.memory);
  return windows;
}

sluice_memory* handle(std::unique_ptr<sluice::BackingMemory> memory) {
  auto made = std::make_shared<Memory>();
  made->memory = std::move(memory);
  return new sluice_memory{std::move(made)};
}

}  // namespace

const char* sluice_version() { return SLUICE_VERSION; }

const char* sluice_error_text(int code) {
  static constexpr std::array<const char*, SLUICE_INTERNAL + 1> kTexts = {
      "success",
      "invalid argument",
      "unknown identifier",
      "identifier was used before",
      "belongs to another customer",
      "not possible in this state",
      "memory is not held by the VM",
      "out of memory",
      "no engine can scrub",
      "claim was abandoned",
      "a resource was refused",
      "not permitted",
      "an engine could not be made",
      "internal error",
  };
  return code >= 0 && code <= SLUICE_INTERNAL ? kTexts[static_cast<std::size_t>(code)] : "unknown code";
}

const char* sluice_last_message() { return last_message.c_str(); }

int sluice_memory_create(uint64_t brick_length, uint32_t bricks, int pages, sluice_memory** memory) {
  return sluice_memory_open("", brick_length, bricks, pages, memory);
}

int sluice_memory_open(const char* folder, uint64_t brick_length, uint32_t bricks, int pages, sluice_memory** memory) {
  return guarded([&] {
    if (folder == nullptr) return missing("the folder");
    if (memory == nullptr) return missing("the place for the memory");
    if (!known_pages(pages)) return unknown_pages(pages);
    auto made = sluice::FileMemory::open(folder, ByteCount(brick_length), bricks, static_cast<sluice::PageKind>(pages));
    if (!made) return fail(made.error());
    *memory = handle(std::move(*made));
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_memory_keep_whole(sluice_memory* memory) {
  return guarded([&] {
    if (memory == nullptr) return missing("the memory");
    auto* const files = dynamic_cast<sluice::FileMemory*>(memory->object->memory.get());
    if (files == nullptr) {
      return fail(SLUICE_INVALID_ARGUMENT, "memory that was wrapped: set `whole` in each sluice_piece of it");
    }
    if (memory->object.use_count() > 1) {
      return fail(SLUICE_WRONG_STATE, "an engine, a ledger or a manager uses the memory: say so before they are made");
    }
    files->keep_whole();
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_memory_wrap(const sluice_piece* pieces, size_t count, sluice_memory** memory) {
  return guarded([&] {
    if (pieces == nullptr || count == 0) return missing("the first piece");
    if (memory == nullptr) return missing("the place for the memory");
    std::vector<sluice::Brick> bricks;
    for (const sluice_piece& piece : std::span(pieces, count)) {
      if (!known_pages(piece.pages)) return unknown_pages(piece.pages);
      if (piece.fd < -1) {
        return fail(SLUICE_INVALID_ARGUMENT, fmt::format("descriptor {}: give -1 or the piece's file", piece.fd));
      }
      bricks.push_back({{static_cast<std::byte*>(piece.base), piece.length},
                        piece.fd,
                        static_cast<sluice::PageKind>(piece.pages),
                        piece.node,
                        sluice::Medium::Volatile,
                        false,
                        piece.whole != 0});
    }
    auto made = sluice::ForeignMemory::create(std::move(bricks));
    if (!made) return fail(made.error());
    *memory = handle(std::move(*made));
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_memory_piece(const sluice_memory* memory, size_t index, sluice_piece* piece) {
  return guarded([&] {
    if (memory == nullptr) return missing("the memory");
    if (piece == nullptr) return missing("the place for the piece");
    const auto bricks = memory->object->memory->bricks();
    if (index >= bricks.size()) {
      return fail(SLUICE_INVALID_ARGUMENT, fmt::format("piece {} of {}: give a smaller index", index, bricks.size()));
    }
    const sluice::Brick& brick = bricks[index];
    *piece = {brick.memory.data(),           brick.memory.size(), brick.fd,
              static_cast<int>(brick.pages), brick.node,          brick.whole ? 1 : 0};
    return static_cast<int>(SLUICE_OK);
  });
}

void sluice_memory_destroy(sluice_memory* memory) { delete memory; }

int sluice_engine_open(const char* name, const sluice_memory* memory, sluice_engine** engine) {
  return guarded([&] {
    if (name == nullptr) return missing("the engine's name");
    if (memory == nullptr) return missing("the memory");
    if (engine == nullptr) return missing("the place for the engine");
    const auto parsed = sluice::EngineName::parse(name);
    if (!parsed) return fail(parsed.error());
    auto made = std::make_shared<OpenEngine>();
    made->memory = memory->object;
    made->registry.add(sluice::make_cpu_factory());
    auto created = made->registry.create(*parsed, windows_of(*memory->object->memory));
    if (!created) return fail(created.error());
    made->engine = std::move(*created);
    *engine = new sluice_engine{std::move(made)};
    return static_cast<int>(SLUICE_OK);
  });
}

int sluice_engine_wrap(const sluice_engine_operations* operations, void* context, sluice_engine** engine) {
  return guarded([&] {
    if (operations == nullptr) return missing("the engine's operations");
    if (engine == nullptr) return missing("the place for the engine");
    if (operations->submit == nullptr || operations->cancel == nullptr || operations->poll == nullptr) {
      return missing("submit, cancel or poll");
    }
    if (operations->max_jobs == 0 || operations->max_job_length == 0) {
      return fail(SLUICE_INVALID_ARGUMENT, "an engine of 0 jobs or of jobs of 0 bytes: give at least 1");
    }
    auto made = std::make_shared<OpenEngine>();
    made->engine = std::make_unique<WrappedEngine>(*operations, context);
    *engine = new sluice_engine{std::move(made)};
    return static_cast<int>(SLUICE_OK);
  });
}

void sluice_engine_destroy(sluice_engine* engine) { delete engine; }

int sluice_ledger_open(const char* path, const sluice_memory* memory, sluice_ledger** ledger) {
  return guarded([&] {
    if (path == nullptr) return missing("the path");
    if (memory == nullptr) return missing("the memory");
    if (ledger == nullptr) return missing("the place for the ledger");
    auto opened = sluice::Ledger::open(path, memory->object->memory->bricks());
    if (!opened) return fail(opened.error());
    auto made = std::make_shared<OpenLedger>();
    made->ledger = std::move(*opened);
    *ledger = new sluice_ledger{std::move(made)};
    return static_cast<int>(SLUICE_OK);
  });
}

const char* sluice_ledger_rejected(const sluice_ledger* ledger) {
  return ledger == nullptr ? "" : ledger->object->ledger->rejected().c_str();
}

void sluice_ledger_destroy(sluice_ledger* ledger) { delete ledger; }
