package function

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// stored counts the packages and chunks in SQL.
func (f *fixture) stored() (packages, chunks int) {
	f.t.Helper()
	err := f.db.QueryRow(f.t.Context(), `SELECT (SELECT COUNT(*) FROM function_code), (SELECT COUNT(*) FROM function_code_chunk)`).Scan(&packages, &chunks)
	if err != nil {
		f.t.Fatal(err)
	}
	return packages, chunks
}

func (f *fixture) unpackedDirs() int {
	f.t.Helper()
	list, err := os.ReadDir(f.code.base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
	return len(list)
}

func (f *fixture) sweepAll() {
	f.t.Helper()
	if err := errors.Join(f.sweepCode(f.t.Context()), f.sweepDirs(f.t.Context())); err != nil {
		f.t.Fatal(err)
	}
}

func largePackage() []byte {
	return zipOf(entry{name: "bootstrap", text: "#!", mode: 0o755}, entry{name: "data", text: strings.Repeat("0123456789abcdef", (dropAtOnce+2)*chunkSize/16), mode: 0o644})
}

func TestCodeThatNoFunctionHasIsSwept(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("large", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = largePackage() })
		f.newFunction("same", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = largePackage() })
		f.newFunction("small")
		if packages, chunks := f.stored(); packages != 2 || chunks < dropAtOnce+3 {
			t.Fatalf("there are %d packages in %d chunks", packages, chunks)
		}
		check := func(when string, packages int) {
			t.Helper()
			f.sweepAll()
			have, chunks := f.stored()
			if have != packages || (chunks > packages) != (packages == 2) || f.unpackedDirs() != packages {
				t.Errorf("%s there are %d packages in %d chunks, %d unpacked", when, have, chunks, f.unpackedDirs())
			}
		}
		must[any](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("large")})
		f.ahead.Store(int64(2 * codeKept))
		check("while another function has it", 2)
		must[any](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("same")})
		must[any](f, "UpdateFunctionCode", &lambda.UpdateFunctionCodeInput{FunctionName: new("small"), ZipFile: largePackage(), DryRun: new(true)})
		f.ahead.Store(int64(3*codeKept - time.Minute))
		f.sweepAll()
		if f.unpackedDirs() != 2 {
			t.Error("code that was just used is gone")
		}
		f.ahead.Store(int64(4 * codeKept))
		check("in the end", 1)
		must[*lambda.InvokeOutput](f, "Invoke", &lambda.InvokeInput{FunctionName: new("small")})
		f.newFunction("large", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = largePackage() })
		check("once it is back", 2)
	})
}

// A server that was killed leaves half a package, which the next call completes.
func TestHalfAPackageIsCompletedOrSwept(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		packed := largePackage()
		p, err := checkPackage(packed, "")
		if err != nil {
			t.Fatal(err)
		}
		half := func() {
			t.Helper()
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := announceCode(t.Context(), tx, p.sha256, p.size, f.now())
				return errors.Join(err, insertChunk(t.Context(), tx, p.sha256, 0, packed[:chunkSize]))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		half()
		if _, found, err := readCode(t.Context(), db, p.sha256); err != nil || found {
			t.Errorf("half a package is read: %v", err)
		}
		f.newFunction("large", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = packed })
		if got, err := f.loadCode(t.Context(), p.sha256); err != nil || string(got) != string(packed) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		must[any](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("large")})
		f.ahead.Store(int64(2 * codeKept))
		f.sweepAll()
		half()
		f.ahead.Store(int64(4 * codeKept))
		f.sweepAll()
		if packages, chunks := f.stored(); packages+chunks != 0 {
			t.Errorf("there are %d packages in %d chunks", packages, chunks)
		}
	})
}

// A sweep that began does not take the code of a function made meanwhile.
func TestASweepStopsWhereCodeIsUsedAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		packed := largePackage()
		with := func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = packed }
		f.newFunction("large", with)
		must[any](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("large")})
		p, err := checkPackage(packed, "")
		if err != nil {
			t.Fatal(err)
		}
		since := f.now() + 1
		more := false
		drop := func() {
			t.Helper()
			err := db.Update(t.Context(), func(tx *store.Tx) (err error) {
				more, err = dropChunks(t.Context(), tx, p.sha256, since, dropAtOnce)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		drop()
		if !more {
			t.Fatal("one part was all")
		}
		f.ahead.Store(int64(time.Second))
		f.newFunction("large", with)
		drop()
		if more {
			t.Error("the sweep goes on")
		}
		if got, err := f.loadCode(t.Context(), p.sha256); err != nil || string(got) != string(packed) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

func TestCodeThatIsNotWhatWasStoredIsNotRun(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello")
	err := f.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE function_code_chunk SET bytes = $1`, zipOf(entry{name: "bootstrap", text: "#!/bin/evil", mode: 0o755}))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	second := newFixture(t, f.db)
	_, err = call[any](second, "Invoke", &lambda.InvokeInput{FunctionName: new("hello")})
	if _, told := errors.AsType[*awsapi.Error](err); err == nil || told && !strings.Contains(err.Error(), "Internal") {
		t.Errorf("got %v", err)
	}
	if n := second.unpackedDirs(); n != 0 {
		t.Errorf("%d are unpacked", n)
	}
}

// Many calls at once unpack once.
func TestCodeIsUnpackedOnceByMany(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello")
	second := newFixture(t, f.db)
	var mu sync.Mutex
	dirs := map[string]bool{}
	second.runs.set(func(_ context.Context, fn runtime.Function, _ runtime.Invocation) (runtime.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		dirs[fn.Dir] = true
		return runtime.Result{}, nil
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := callAs[any](second, context.Background(), admin(account), "Invoke", &lambda.InvokeInput{FunctionName: new("hello")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(dirs) != 1 || second.unpackedDirs() != 1 {
		t.Errorf("run from %v, %d are unpacked", dirs, second.unpackedDirs())
	}
}

// What an earlier process unpacked may be half written: a power cut loses what was not synced.
func TestWhatAnEarlierProcessUnpackedIsDeleted(t *testing.T) {
	base := t.TempDir()
	shared := func(o *Options) { o.BaseDir = base }
	f := newSQLite(t, shared)
	f.newFunction("hello")
	second := newFixture(t, f.db, shared)
	must[any](second, "Invoke", &lambda.InvokeInput{FunctionName: new("hello")})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.runSweeps(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); f.unpackedDirs() > 0; {
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if list, err := os.ReadDir(filepath.Join(base, "code")); err != nil || len(list) != 1 || second.unpackedDirs() != 1 {
		t.Errorf("left are %v, %v", list, err)
	}
}

func TestAnAccountsCodeIsLimited(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("hello")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE function SET code_size = $1`, int64(maxStored))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call[any](f, "CreateFunction", creation("other")); !awsapi.HasCode(err, lambda.CodeCodeStorageExceededException) {
			t.Errorf("got %v", err)
		}
		c := admin(other)
		if _, err := callAs[any](f, t.Context(), c, "CreateFunction", creation("other", func(in *lambda.CreateFunctionInput) { in.Role = new("arn:aws:iam::444455556666:role/r") })); err != nil {
			t.Errorf("another account: %v", err)
		}
		must[any](f, "UpdateFunctionCode", &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: creation("x").Code.ZipFile})
	})
}

// Many deployments at once, of one account and from one package, do not get in each other's way.
func TestManyAreMadeChangedAndDeletedAtOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		const n = 30
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				name := fmt.Sprint("f", i)
				if _, err := callAs[any](f, context.Background(), admin(account), "CreateFunction", creation(name)); err != nil {
					t.Error(err)
				}
				for range 3 {
					in := &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: zipOf(entry{name: "b", text: "2", mode: 0o755})}
					if _, err := callAs[any](f, context.Background(), admin(account), "UpdateFunctionCode", in); err != nil {
						t.Error(err)
					}
				}
				if i%2 == 0 {
					return
				}
				if _, err := callAs[any](f, context.Background(), admin(account), "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if list := must[*lambda.ListFunctionsOutput](f, "ListFunctions", &lambda.ListFunctionsInput{}); len(list.Functions) != n/2 {
			t.Errorf("there are %d", len(list.Functions))
		}
	})
}
