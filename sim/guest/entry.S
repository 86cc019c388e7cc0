// SPDX-License-Identifier: Apache-2.0
// From the reset vector to guest_main() in 32-bit protected mode with flat segments. The image is the firmware: it lies
// at the top of the first 4 GiB, where nothing can be written.

  .equ CODE, 8
  .equ DATA, 16
  .equ STACK_TOP, 0x80000

  .section .start, "ax"
  .code16
  .globl _start
_start:
  cli
  cld
  inb $0x92, %al          // the address line A20 on; bit 0 would reset the machine
  orb $2, %al
  andb $0xfe, %al
  outb %al, $0x92
  lgdtl %cs:(descriptors_pointer - _start)
  movl %cr0, %eax
  orl $1, %eax
  movl %eax, %cr0
  ljmpl $CODE, $start32

  .code32
start32:
  movw $DATA, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %fs
  movw %ax, %gs
  movw %ax, %ss
  movl $STACK_TOP, %esp
  call guest_main
stop:
  hlt
  jmp stop

  .balign 8
descriptors:
  .quad 0
  .quad 0x00cf9b000000ffff
  .quad 0x00cf93000000ffff
descriptors_pointer:
  .word descriptors_pointer - descriptors - 1
  .long descriptors

  // The processor begins 16 bytes below the end of the image, in real mode.
  .section .reset, "ax"
  .code16
  .byte 0xe9              // a near jump to the image's first byte: IP wraps at 64 KiB
  .word _start - reset_next
reset_next:
  .balign 16, 0x90

  .section .note.GNU-stack, "", @progbits
