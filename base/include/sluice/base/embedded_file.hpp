// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Makes the bytes of a file a part of the program: from `name`, a char, up to `name_end`, after which there is a 0. At
/// global scope of a source file, once for each name in a program; `file` is a string literal with its path. The build
/// must know that the object depends on that file (OBJECT_DEPENDS).
#define SLUICE_EMBEDDED_FILE(name, file)                                 \
  extern "C" const char name[];       /* NOLINT */                       \
  extern "C" const char name##_end[]; /* NOLINT */                       \
  asm(".section .rodata\n.global " #name "\n" #name ":\n.incbin \"" file \
      "\"\n" /* NOLINT */                                                \
      ".global " #name "_end\n" #name "_end:\n.byte 0\n.previous\n")
