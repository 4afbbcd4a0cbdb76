package function

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpacked unpacks into a directory below another, which must stay as it was.
func unpacked(t testing.TB, packed []byte) (dir string, err error) {
	t.Helper()
	outside := t.TempDir()
	t.Cleanup(func() {
		if err := removeTree(outside); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(outside, "a", "code")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err = unpack(packed, dir)
	checkOutside(t, outside)
	return dir, err
}

func checkOutside(t testing.TB, outside string) {
	t.Helper()
	for path, want := range map[string]string{outside: "a secret", filepath.Join(outside, "a"): "code"} {
		list, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("outside of the directory there is %s", got)
		}
	}
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "secret" {
		t.Errorf("a file outside is %q, %v", b, err)
	}
}

func TestUnpackKeepsFilesDirectoriesModesAndLinks(t *testing.T) {
	dir, err := unpacked(t, zipOf(
		entry{name: "bootstrap", text: "#!/bin/sh\n", mode: 0o755}, entry{name: "plain", text: "1", mode: 0o600}, entry{name: "group", mode: 0o710},
		entry{name: "lib/", mode: fs.ModeDir | 0o755}, entry{name: "lib/数据/深/文件🏙.txt", text: "深", mode: 0o644, method: zip.Deflate},
		entry{name: "link", text: "lib/数据", mode: fs.ModeSymlink | 0o777}, entry{name: "lib/up", text: "../plain", mode: fs.ModeSymlink | 0o777},
		entry{name: "dangling", text: "nowhere", mode: fs.ModeSymlink | 0o777}, entry{name: "set", mode: fs.ModeSetuid | 0o755},
		entry{name: "empty/", mode: fs.ModeDir | 0o755}, entry{name: "back\\slash", mode: 0o644},
		entry{name: "./dot/../dot/x", mode: 0o644}, entry{name: "./", mode: fs.ModeDir | 0o755},
	))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"bootstrap": "-r-xr-xr-x", "plain": "-r--r--r--", "group": "-r-xr-xr-x", "lib": "dr-xr-xr-x", "lib/数据/深": "dr-xr-xr-x", "lib/数据/深/文件🏙.txt": "-r--r--r--",
		"link": "Lrwxrwxrwx", "set": "-r-xr-xr-x", "empty": "dr-xr-xr-x", "back\\slash": "-r--r--r--", "dot/x": "-r--r--r--",
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode().String() != want {
			t.Errorf("%s: got %v, %v", name, info, err)
		}
	}
	for name, want := range map[string]string{"link/深/文件🏙.txt": "深", "lib/up": "1"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
}

func TestUnpackRefusesWhatIsUnsafe(t *testing.T) {
	link := fs.ModeSymlink | 0o777
	encrypted := zipOf(entry{name: "a", text: "1", mode: 0o644})
	patch(encrypted, "PK\x01\x02", 8, 1)
	patch(encrypted, "PK\x03\x04", 6, 1)
	damaged := zipOf(entry{name: "a", text: "some content", mode: 0o644})
	damaged[bytes.Index(damaged, []byte("some"))] = 'S'
	strange := zipOf(entry{name: "a", text: "1", mode: 0o644})
	patch(strange, "PK\x01\x02", 10, 99)
	patch(strange, "PK\x03\x04", 8, 99)
	many := make([]entry, maxFiles+1)
	for i := range many {
		many[i] = entry{name: fmt.Sprint(i), mode: 0o644}
	}
	for name, tt := range map[string]struct {
		packed []byte
		want   string
	}{
		"no zip":                      {[]byte("PK nothing"), "it is no zip"},
		"half a zip":                  {zipOf(entry{name: "a"})[:20], "it is no zip"},
		"an absolute name":            {zipOf(entry{name: "/etc/cron.d/x", mode: 0o644}), `"/etc/cron.d/x" is not that of a file in it`},
		"a name that climbs":          {zipOf(entry{name: "../secret", mode: 0o644}), `"../secret" is not that`},
		"a name that climbs late":     {zipOf(entry{name: "a/b/../../../secret", mode: 0o644}), "is not that"},
		"a directory that climbs":     {zipOf(entry{name: "../up/", mode: fs.ModeDir | 0o755}), "is not that"},
		"an empty name":               {zipOf(entry{name: "", mode: 0o644}), "is not that"},
		"a NUL in a name":             {zipOf(entry{name: "a\x00b", mode: 0o644}), "is not that"},
		"a file below a file":         {zipOf(entry{name: "a", mode: 0o644}, entry{name: "a/b", mode: 0o644}), `"a" is both a file and a directory`},
		"a file twice":                {zipOf(entry{name: "a", mode: 0o644}, entry{name: "a", mode: 0o644}), `"a" is in it twice`},
		"a long name":                 {zipOf(entry{name: strings.Repeat("x", 300), mode: 0o644}), "cannot be a file here"},
		"an absolute link":            {zipOf(entry{name: "l", text: "/etc/passwd", mode: link}), `the symbolic link "l" leads out of it`},
		"a link that climbs":          {zipOf(entry{name: "d/l", text: "../../secret", mode: link}), "leads out"},
		"an empty link":               {zipOf(entry{name: "l", mode: link}), "leads out"},
		"links that climb together":   {zipOf(entry{name: "d/e", text: "..", mode: link}, entry{name: "d/l", text: "e/../..", mode: link}), "leads out"},
		"a circle of links":           {zipOf(entry{name: "a", text: "b", mode: link}, entry{name: "b", text: "a", mode: link}), "in a circle"},
		"a file through a link out":   {zipOf(entry{name: "d/e", text: "..", mode: link}, entry{name: "d/f", text: "e/..", mode: link}, entry{name: "d/f/secret", text: "x", mode: 0o644}), ""},
		"a file in place of its link": {zipOf(entry{name: "l", text: "x", mode: link}, entry{name: "l", text: "1", mode: 0o644}), `"l" is in it twice`},
		"a file below no directory":   {zipOf(entry{name: "l", text: "nowhere", mode: link}, entry{name: "l/x", mode: 0o644}), `"l" is below a link that leads nowhere`},
		"a file for the directory":    {zipOf(entry{name: "a/..", mode: 0o644}), `"." is in it twice`},
		"a device":                    {zipOf(entry{name: "d", mode: fs.ModeDevice | 0o644}), "is neither a file nor a directory"},
		"a named pipe":                {zipOf(entry{name: "p", mode: fs.ModeNamedPipe | 0o644}), "is neither"},
		"a socket":                    {zipOf(entry{name: "s", mode: fs.ModeSocket | 0o644}), "is neither"},
		"an encrypted file":           {encrypted, `"a" is encrypted`},
		"a damaged file":              {damaged, "checksum"},
		"an unknown compression":      {strange, "unsupported compression"},
		"too many files":              {zipOf(many...), "more than 100000 files"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpacked(t, tt.packed)
			bad, ok := errors.AsType[*archiveError](err)
			if !ok || !strings.Contains(bad.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// patch sets a byte of each header that begins with the signature.
func patch(packed []byte, signature string, at int, to byte) {
	for i := 0; ; {
		n := bytes.Index(packed[i:], []byte(signature))
		if n < 0 {
			return
		}
		packed[i+n+at] = to
		i += n + 1
	}
}

// A zip of a few hundred kilobytes can hold gigabytes of zeros, and can lie about it.
func TestUnpackCountsWhatIsThere(t *testing.T) {
	zeros := strings.Repeat("\x00", 60<<20)
	var entries []entry
	for i := range 5 {
		entries = append(entries, entry{name: fmt.Sprint(i), text: zeros, mode: 0o644, method: zip.Deflate})
	}
	bomb := zipOf(entries...)
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	if _, err := unpacked(t, bomb); !errors.Is(err, errUnpackedSize) || err.Error() != "Unzipped size must be smaller than 262144000 bytes" {
		t.Errorf("got %v", err)
	}
	for i := range 4 { // the sizes that it gives are 1
		patch(bomb, "PK\x01\x02", 24+i, byte(1-min(i, 1)))
	}
	if _, err := unpacked(t, bomb); err == nil {
		t.Error("a bomb that lies was taken")
	}
}

func TestRemoveTreeGetsPastReadOnlyDirectories(t *testing.T) {
	dir, err := unpacked(t, zipOf(entry{name: "a/b/c", mode: 0o644}))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(removeTree(dir), removeTree(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(zipOf(entry{name: "bootstrap", text: "#!/bin/sh", mode: 0o755}, entry{name: "数据/a", text: strings.Repeat("x", 999), mode: 0o644, method: zip.Deflate}))
	f.Add(zipOf(entry{name: "d/", mode: fs.ModeDir | 0o755}, entry{name: "d/l", text: "../x", mode: fs.ModeSymlink | 0o777}, entry{name: "x", mode: 0o600}))
	f.Add(zipOf(entry{name: "../x", mode: 0o644}, entry{name: "/y", mode: 0o644}))
	f.Add(zipOf(entry{name: "d/e", text: "..", mode: fs.ModeSymlink | 0o777}, entry{name: "d/e/../x", text: "1", mode: 0o644}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		dir, err := unpacked(t, packed)
		if err != nil {
			if _, ok := errors.AsType[*archiveError](err); !ok {
				t.Errorf("the archive is not told to be at fault: %v", err)
			}
			return
		}
		// Twice the same zip is twice the same tree, and everything can be deleted.
		again, err := unpacked(t, packed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tree(t, dir), tree(t, again)); diff != "" {
			t.Error(diff)
		}
	})
}

func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if path != dir {
			files[strings.TrimPrefix(path, dir)] = info.Mode().String()
		}
		if e.Type() == fs.ModeSymlink {
			if resolved, err := filepath.EvalSymlinks(path); err == nil && resolved != dir && !strings.HasPrefix(resolved, dir+"/") {
				return fmt.Errorf("%s leads to %s", path, resolved)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return files
}
