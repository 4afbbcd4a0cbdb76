//go:build unix

package function

import (
	"errors"
	"strings"
	"syscall"
)

// nameRefused says whether the file system refused a name: too long, in no encoding that it takes,
// below a file, or by way of a link that leads out.
func nameRefused(err error) bool {
	return errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EILSEQ) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EINVAL) || strings.Contains(err.Error(), "escapes from parent")
}
