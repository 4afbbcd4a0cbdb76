package function

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	// maxPacked is AWS's limit of a deployment package in a request.
	maxPacked = 50 << 20
	// maxUnpacked is AWS's limit of a deployment package once unpacked.
	maxUnpacked = 262_144_000
	// maxFiles is our limit of what an archive may hold.
	maxFiles = 100_000
	// maxLink is how long the target of a symbolic link may be.
	maxLink = 4096
)

// archiveError says why a deployment package is not taken.
type archiveError struct{ reason string }

// Error returns the reason.
func (e *archiveError) Error() string { return e.reason }

func badArchive(format string, args ...any) error {
	return &archiveError{fmt.Sprintf(format, args...)}
}

// unpack writes the files of a zip into dir, which must be there and empty. Nothing is written
// outside of it, no link leads out of it, and at most maxUnpacked bytes are written.
// Files come out read-only, and executable for all if they were for anyone. Its error is an
// *archiveError where the archive is to blame.
func unpack(packed []byte, dir string) error {
	archive, err := openArchive(packed)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	u := &unpacker{root: root, left: maxUnpacked, dirs: map[string]bool{}}
	for _, f := range archive.File {
		if err := u.entry(f); err != nil {
			return err
		}
	}
	if err := u.checkLinks(); err != nil {
		return err
	}
	return u.seal()
}

func openArchive(packed []byte) (*zip.Reader, error) {
	// Each entry costs memory to read, so their number is bounded first.
	if bytes.Count(packed, []byte("PK\x01\x02")) > maxFiles {
		return nil, badArchive("it has more than %d files", maxFiles)
	}
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // which entry looks at
		return nil, badArchive("it is no zip: %v", err)
	}
	return archive, nil
}

type unpacker struct {
	root  *os.Root
	left  int64 // bytes that may still be written
	dirs  map[string]bool
	links []string
}

// entry writes one entry of the archive.
func (u *unpacker) entry(f *zip.File) error {
	name, err := entryName(f.Name)
	if err != nil {
		return err
	}
	switch mode := f.Mode(); {
	case f.Flags&1 != 0:
		return badArchive("%q is encrypted", f.Name)
	case mode.IsDir():
		return u.makeDir(name)
	case mode.Type() == fs.ModeSymlink:
		return u.link(f, name)
	case !mode.IsRegular():
		return badArchive("%q is neither a file nor a directory nor a symbolic link", f.Name)
	default:
		return u.file(f, name)
	}
}

// entryName is the clean name of an entry. It refuses what is absolute or points out of the archive.
func entryName(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", badArchive("the name %q is not that of a file in it", name)
	}
	return path.Clean(name), nil
}

// makeDir makes the directory and those that it is in.
func (u *unpacker) makeDir(name string) error {
	if name == "." || u.dirs[name] {
		return nil
	}
	if err := u.makeDir(path.Dir(name)); err != nil {
		return err
	}
	if len(u.dirs) >= 4*maxFiles {
		return badArchive("it has too many directories")
	}
	if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return blame(name, err)
	}
	info, err := u.root.Stat(name)
	if err != nil {
		return blame(name, err)
	}
	if !info.IsDir() {
		return badArchive("%q is both a file and a directory", name)
	}
	u.dirs[name] = true
	return nil
}

func (u *unpacker) file(f *zip.File, name string) (err error) {
	if err := u.makeDir(path.Dir(name)); err != nil {
		return err
	}
	mode := fs.FileMode(0o444)
	if f.Mode()&0o111 != 0 {
		mode = 0o555
	}
	to, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return blame(name, err)
	}
	defer func() {
		if closed := to.Close(); err == nil && closed != nil {
			err = fmt.Errorf("unpack %q: %w", name, closed)
		}
	}()
	from, err := f.Open()
	if err != nil {
		return badArchive("%q cannot be read: %v", f.Name, err)
	}
	defer from.Close()
	return u.copy(to, from, f.Name)
}

// copy counts what is really there: the archive's own figures may lie.
func (u *unpacker) copy(to io.Writer, from io.Reader, name string) error {
	w := &countedWriter{to: to}
	n, err := io.Copy(w, io.LimitReader(from, u.left+1))
	u.left -= n
	switch {
	case w.err != nil:
		return fmt.Errorf("unpack %q: %w", name, w.err)
	case err != nil:
		return badArchive("%q cannot be read: %v", name, err)
	case u.left < 0:
		return errUnpackedSize
	}
	return nil
}

var errUnpackedSize = &archiveError{fmt.Sprintf("Unzipped size must be smaller than %d bytes", maxUnpacked)}

// countedWriter remembers an error of writing, to tell it from one of reading.
type countedWriter struct {
	to  io.Writer
	err error
}

// Write hands p on.
// Write implements io.Writer.
func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.err = err
	return n, err
}

func (u *unpacker) link(f *zip.File, name string) error {
	if err := u.makeDir(path.Dir(name)); err != nil {
		return err
	}
	from, err := f.Open()
	if err != nil {
		return badArchive("%q cannot be read: %v", f.Name, err)
	}
	defer from.Close()
	to, err := io.ReadAll(io.LimitReader(from, maxLink+1))
	if err != nil {
		return badArchive("%q cannot be read: %v", f.Name, err)
	}
	if target := string(to); len(to) == 0 || len(to) > maxLink || strings.ContainsRune(target, 0) || path.IsAbs(target) ||
		!filepath.IsLocal(filepath.FromSlash(path.Join(path.Dir(name), target))) {
		return badArchive("the symbolic link %q leads out of it", f.Name)
	}
	if err := u.root.Symlink(string(to), name); err != nil {
		return blame(name, err)
	}
	u.links = append(u.links, name)
	return nil
}

// checkLinks follows every link: together they may lead out though none does alone.
func (u *unpacker) checkLinks() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return badArchive("the symbolic link %q leads out of it or in a circle", name)
		}
	}
	return nil
}

// seal makes the directories read-only.
func (u *unpacker) seal() error {
	for name := range u.dirs {
		if info, err := u.root.Lstat(name); err != nil || !info.IsDir() {
			continue // a link to one
		}
		if err := u.root.Chmod(name, 0o555); err != nil {
			return fmt.Errorf("unpack %q: %w", name, err)
		}
	}
	return nil
}

// blame tells what the archive did wrong from what failed here.
func blame(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return badArchive("%q is in it twice", name)
	case errors.Is(err, fs.ErrNotExist):
		return badArchive("%q is below a link that leads nowhere", name)
	case nameRefused(err):
		return badArchive("%q cannot be a file here: %v", name, err)
	}
	return fmt.Errorf("unpack %q: %w", name, err)
}
