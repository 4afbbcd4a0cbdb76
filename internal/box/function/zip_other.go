//go:build !unix

package function

// nameRefused says whether the file system refused a name.
func nameRefused(error) bool { return true }
