package node

import (
	"io"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
)

// maxBytes bounds a file. All but /proc/sysinfo have one line.
const maxBytes = 16 << 10

// read returns the file's text without blanks around it, or "".
func read(root fs.FS, path string) string {
	file, err := root.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // was only read
	content, err := io.ReadAll(io.LimitReader(file, maxBytes))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// readClues reads below the root, which is / but in tests.
func readClues(root fs.FS) clues {
	c := clues{
		arch:           runtime.GOARCH,
		vendor:         read(root, "sys/class/dmi/id/sys_vendor"),
		product:        read(root, "sys/class/dmi/id/product_name"),
		version:        read(root, "sys/class/dmi/id/product_version"),
		chassis:        read(root, "sys/class/dmi/id/chassis_type"),
		hypervisorType: read(root, "sys/hypervisor/type"),
		xenFeatures:    read(root, "sys/hypervisor/properties/features"),
		sysinfo:        read(root, "proc/sysinfo"),
	}
	_, err := fs.Stat(root, "sys/class/misc/mshv")
	c.mshv = err == nil
	return c
}

// hexadecimal parses a number as the kernel prints it with %x.
func hexadecimal(text string) (uint64, bool) {
	number, err := strconv.ParseUint(text, 16, 64)
	return number, err == nil
}

// A parameter is an open file of a kernel module's parameter. It is read again at each scrape:
// the module can be reloaded with another value. The file of a module that was unloaded cannot
// be read (ENODEV), and its fact is absent, until the relay starts again.
type parameter struct{ file io.ReaderAt }

// openParameter opens the first that exists. It stays open as long as the process.
func openParameter(root fs.FS, paths ...string) parameter {
	for _, path := range paths {
		file, err := root.Open("sys/module/" + path)
		if err != nil {
			continue
		}
		if at, ok := file.(io.ReaderAt); ok {
			return parameter{at}
		}
	}
	return parameter{}
}

// onOff returns on, off, or "" for what is neither.
func (p parameter) onOff() string {
	if p.file == nil {
		return ""
	}
	var content [4]byte
	n, err := p.file.ReadAt(content[:], 0)
	if err != nil && err != io.EOF {
		return ""
	}
	switch strings.TrimSpace(string(content[:n])) {
	case "Y", "1":
		return "on"
	case "N", "0":
		return "off"
	default:
		return ""
	}
}
