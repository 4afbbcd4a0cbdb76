package function

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// chunkSize is how much of a package one transaction stores, which takes the writer a few milliseconds.
	chunkSize = 512 << 10
	// codeKept is how long a package stays that no function has: in SQL, so that one that was just
	// stored can become a function's, and unpacked, so that what still runs from it can end.
	codeKept = time.Hour
	// dropAtOnce is how many chunks one transaction deletes.
	dropAtOnce = 8
)

// maxStored is AWS's limit of all deployment packages of an account in a region.
const maxStored = 75 << 30

// packageOf is a deployment package: what it is called by and how large it is.
type packageOf struct {
	sha256 string // hex
	size   int64
}

// checkPackage looks at a deployment package. Its errors are AWS's.
func checkPackage(packed []byte, operation string) (packageOf, error) {
	switch {
	case len(packed) == 0:
		return packageOf{}, errParameter("Uploaded file must be a non-empty zip")
	case len(packed) > maxPacked:
		// AWS counts the request, in which the package is 4/3 as large.
		return packageOf{}, &awsapi.Error{
			Code: "RequestEntityTooLargeException", Status: 413,
			Message: fmt.Sprintf("Request must be smaller than %d bytes for the %s operation: the package has %d bytes, and may have %d",
				maxPacked/3*4, operation, len(packed), maxPacked),
		}
	}
	sum := sha256.Sum256(packed)
	return packageOf{sha256: hex.EncodeToString(sum[:]), size: int64(len(packed))}, nil
}

// archiveFault is AWS's error of an archive that is not taken; other errors stay what they are.
func archiveFault(err error) error {
	if errors.Is(err, errUnpackedSize) {
		return errParameter("%v", err)
	}
	if bad, ok := errors.AsType[*archiveError](err); ok {
		return errParameter("Could not unzip uploaded file. Please check your file, then try to upload again: %v", bad)
	}
	return err
}

// storeCode checks a deployment package, unpacks it on this node and stores it, so that within
// codeKept a function can get it by useCode.
func (f *Functions) storeCode(ctx context.Context, packed []byte, p packageOf) error {
	if err := f.code.put(ctx, p.sha256, packed); err != nil {
		return archiveFault(err)
	}
	var complete bool
	err := f.db.Update(ctx, func(tx *store.Tx) (err error) {
		complete, err = announceCode(ctx, tx, p.sha256, p.size, f.now())
		return err
	})
	if err != nil || complete {
		return err
	}
	chunks := 0
	for part := range bytesChunks(packed) {
		if err := f.db.Update(ctx, func(tx *store.Tx) error { return insertChunk(ctx, tx, p.sha256, chunks, part) }); err != nil {
			return err
		}
		chunks++
	}
	return f.db.Update(ctx, func(tx *store.Tx) error {
		ok, err := completeCode(ctx, tx, p.sha256, chunks, f.now())
		if err == nil && !ok {
			err = fmt.Errorf("store code %s: chunks of it are missing", p.sha256)
		}
		return err
	})
}

func bytesChunks(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := min(chunkSize, len(b))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// adopt gives the function in tx a package that was stored.
func (f *Functions) adopt(ctx context.Context, tx *store.Tx, fn *Function, p packageOf) error {
	ok, err := useCode(ctx, tx, p.sha256, f.now())
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("code %s of %s is gone", p.sha256, fn.ARN())
	}
	stored, err := codeStored(ctx, tx, fn.Account, fn.Region)
	if err != nil {
		return err
	}
	if stored-fn.CodeSize+p.size > maxStored {
		return lambda.ErrCodeStorageExceededException("Code storage limit exceeded.")
	}
	fn.CodeSHA256, fn.CodeSize = p.sha256, p.size
	return nil
}

// codeDirs are the deployment packages that are unpacked on this node.
type codeDirs struct {
	base string // of this process: what others left is deleted when Run begins
	now  func() time.Time

	mu   sync.Mutex
	dirs map[string]*codeDir // by SHA-256 in hex
}

type codeDir struct {
	turn chan struct{} // held by whoever unpacks
	// under codeDirs.mu
	there bool
	users int
	used  time.Time
}

func newCodeDirs(base string, now func() time.Time) *codeDirs {
	return &codeDirs{base: filepath.Join(base, "code", uuid.NewString()), now: now, dirs: map[string]*codeDir{}}
}

// use returns the directory of a package, which stays for at least codeKept after done. load
// is called where it is not unpacked yet.
func (c *codeDirs) use(ctx context.Context, sha256 string, load func(context.Context) ([]byte, error)) (dir string, done func(), err error) {
	d := c.hold(sha256)
	done = sync.OnceFunc(func() { c.release(d) })
	dir = filepath.Join(c.base, sha256)
	if c.isThere(d) {
		return dir, done, nil
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		done()
		return "", nil, ctx.Err()
	}
	if c.isThere(d) {
		return dir, done, nil
	}
	packed, err := load(ctx)
	if err == nil {
		err = c.write(packed, dir)
	}
	if err != nil {
		done()
		return "", nil, err
	}
	c.mu.Lock()
	d.there = true
	c.mu.Unlock()
	return dir, done, nil
}

// put unpacks a package.
func (c *codeDirs) put(ctx context.Context, sha256 string, packed []byte) error {
	_, done, err := c.use(ctx, sha256, func(context.Context) ([]byte, error) { return packed, nil })
	if err == nil {
		done()
	}
	return err
}

func (c *codeDirs) hold(sha256 string) *codeDir {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dirs[sha256]
	if d == nil {
		d = &codeDir{turn: make(chan struct{}, 1)}
		c.dirs[sha256] = d
	}
	d.users++
	d.used = c.now()
	return d
}

func (c *codeDirs) release(d *codeDir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.users--
	d.used = c.now()
}

func (c *codeDirs) isThere(d *codeDir) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.there
}

// write unpacks beside the directory and renames: nobody sees half of it.
func (c *codeDirs) write(packed []byte, dir string) (err error) {
	if err := os.MkdirAll(c.base, 0o700); err != nil {
		return fmt.Errorf("unpack code: %w", err)
	}
	temporary, err := os.MkdirTemp(c.base, ".new-")
	if err != nil {
		return fmt.Errorf("unpack code: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(temporary))
		}
	}()
	if err := unpack(packed, temporary); err != nil {
		return err
	}
	if empty, err := isEmpty(temporary); err != nil || empty {
		return errors.Join(err, badArchive("it holds no files"))
	}
	if err := os.Rename(temporary, dir); err != nil {
		return fmt.Errorf("unpack code: %w", err)
	}
	return os.Chmod(dir, 0o555) //nolint:gosec // only read, and by other programs too
}

func isEmpty(dir string) (bool, error) {
	list, err := os.ReadDir(dir)
	return len(list) == 0, err
}

// idle returns the packages that nobody has used since.
func (c *codeDirs) idle(since time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for sha256, d := range c.dirs {
		if d.users == 0 && d.used.Before(since) {
			list = append(list, sha256)
		}
	}
	return list
}

// drop deletes a package's directory, unless somebody has used it since.
func (c *codeDirs) drop(sha256 string, since time.Time) error {
	c.mu.Lock()
	d := c.dirs[sha256]
	if d == nil || d.users > 0 || !d.used.Before(since) {
		c.mu.Unlock()
		return nil
	}
	delete(c.dirs, sha256)
	// Renamed while nobody can ask for it, so that whoever does next unpacks anew.
	gone := filepath.Join(c.base, ".old-"+uuid.NewString())
	err := os.Rename(filepath.Join(c.base, sha256), gone)
	c.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete unpacked code: %w", err)
	}
	return removeTree(gone)
}

// dropOthers deletes what earlier processes left.
func (c *codeDirs) dropOthers() error {
	list, err := os.ReadDir(filepath.Dir(c.base))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete unpacked code: %w", err)
	}
	for _, entry := range list {
		if entry.Name() != filepath.Base(c.base) {
			if err := removeTree(filepath.Join(filepath.Dir(c.base), entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropAll deletes what this process unpacked: nobody else could delete read-only directories as
// simply, least of all whoever deletes the data directory.
func (c *codeDirs) dropAll() error { return removeTree(c.base) }

// removeTree deletes a directory, read-only ones in it included.
func removeTree(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(path, 0o700) //nolint:gosec // a directory, to be deleted
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	return os.RemoveAll(dir)
}

// loadCode reads a package from SQL and checks that it is what it is called.
func (f *Functions) loadCode(ctx context.Context, sum string) ([]byte, error) {
	packed, found, err := readCode(ctx, f.db, sum)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("code %s is gone", sum)
	}
	have := sha256.Sum256(packed)
	if want, err := hex.DecodeString(sum); err != nil || !bytes.Equal(have[:], want) {
		return nil, fmt.Errorf("code %s is not what was stored", sum)
	}
	return packed, nil
}
