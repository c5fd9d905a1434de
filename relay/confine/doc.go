// Package confine gives up, with Linux' Landlock, every right to files and ports that
// the relay does not use. What a taken-over relay could do is then what it does
// anyway, as far as the kernel can enforce it.
//
// After [Needs.Apply] the process, in all its threads:
//
//   - creates, writes, renames, links and deletes nothing, wherever it is, and truncates nothing
//     (Linux 6.2);
//   - reads and executes nothing but what is listed in [Needs];
//   - binds no TCP port and connects to no TCP port but the listed ones (Linux 6.7,
//     see below);
//   - connects to no abstract Unix socket of another process (Linux 6.12).
//
// What Landlock does not restrict (kernel documentation, userspace-api/landlock):
//
//   - Finding a file: stat(2) and open(2) with O_PATH.
//   - Connecting to a Unix socket that has a path, which is how the relay scrapes.
//     ABI 9 can restrict that; the right is not among those that we give up, so a newer
//     kernel changes nothing here.
//   - Changing a file's mode, owner, times and attributes: for that the mount must be
//     read-only.
//   - Multipath TCP and UDP. A connection that our own code could be led to make uses
//     plain TCP; foreign code could choose.
//
// go-landlock rather than three system calls of our own: it takes them in all threads of
// a program with cgo and without, and knows what each kernel's Landlock can. Only the rules
// for paths are ours: see allow.
package confine
