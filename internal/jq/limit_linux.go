package jq

import (
	"fmt"
	"os"
)

// data is how many bytes of writable private memory this process has mapped.
func data() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident, shared, code, lib, pages int64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared, &code, &lib, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// executable is this program's, also after its file was replaced.
func executable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err != nil {
		return os.Executable()
	}
	return self, nil
}
