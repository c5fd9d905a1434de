# The boot sector of the test guests: 512 bytes that act on QEMU's q35 machine.
# Go writes the wanted program's number (program.go) into the byte at 0x1fc; bit 7 says
# "only once the power button was pressed" (virsh shutdown). boot.bin is made by
#   as --32 -o boot.o boot.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o boot.bin boot.o
	.code16
	.globl _start
_start:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$0x7c00, %sp
	# ICH9 PM1a block: SeaBIOS puts PMBASE at 0x600. QEMU sets the button's status bit only
	# when the button is enabled (hw/acpi/core.c acpi_pm1_evt_power_down).
	mov	$0x602, %dx
	mov	$0x100, %ax
	out	%ax, %dx
	# Tell the outside world over the serial line that the program runs.
	mov	$0x3f8, %dx
	mov	$'R', %al
	out	%al, %dx
	mov	program, %bl
	test	$0x80, %bl
	jz	act
button:	# Woken 18 times a second by the timer: next to no CPU.
	sti
	hlt
	cli
	mov	$0x600, %dx
	in	%dx, %ax
	test	$0x100, %ax
	jz	button
	mov	$0x100, %ax		# write one to clear
	out	%ax, %dx
act:	and	$0x7f, %bl
	cmp	$1, %bl
	je	poweroff
	cmp	$2, %bl
	je	reset
	cmp	$3, %bl
	je	panic
	cmp	$4, %bl
	je	suspend
	cmp	$5, %bl
	je	busy
idle:	sti
	hlt
	jmp	idle
poweroff:	# PM1a control: SLP_EN, SLP_TYP 0 is S5 on this machine
	mov	$0x604, %dx
	mov	$0x2000, %ax
	out	%ax, %dx
	jmp	idle
reset:	mov	$0xcf9, %dx		# ICH9 reset control: full reset
	mov	$0x06, %al
	out	%al, %dx
	jmp	idle
panic:	mov	$0x505, %dx		# pvpanic: the guest has panicked
	mov	$0x01, %al
	out	%al, %dx
	jmp	idle
suspend:	# SLP_TYP 1 is S3
	mov	$0x604, %dx
	mov	$0x2400, %ax
	out	%ax, %dx
	jmp	idle
busy:	lgdt	gdtr			# flat 32 bits, to reach beyond 1 MiB
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmp	$8, $flat
	.code32
flat:	mov	$16, %ax
	mov	%ax, %ds
	xor	%ecx, %ecx
again:	inc	%ecx			# another value each round: no page is ever clean or zero
	mov	$0x00800000, %edi	# 8 MiB to 48 MiB, one word in each page
page:	mov	%ecx, (%edi)
	add	$0x1000, %edi
	cmp	$0x03000000, %edi
	jb	page
	jmp	again
	.align	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff
	.quad	0x00cf92000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt
	.org	0x1fc
program:
	.byte	0, 0
	.byte	0x55, 0xaa
