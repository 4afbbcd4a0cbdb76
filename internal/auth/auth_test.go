package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, MasterKeySize) }

// node opens another node of the same installation.
func node(t *testing.T, db *store.DB, c *clock) *Auth {
	t.Helper()
	a, err := Open(t.Context(), db, Options{MasterKey: testKey(1), Now: c.now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustCreate(t *testing.T, a *Auth, account string, role Role) (Key, string) {
	t.Helper()
	k, secret, err := a.CreateKey(t.Context(), NewKey{Account: account, Role: role, Description: "海 🌊"})
	if err != nil {
		t.Fatal(err)
	}
	return k, secret
}

func TestKeyFile(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		path := filepath.Join(t.TempDir(), KeyFileName)
		open := func(o Options) (*Auth, error) { return Open(t.Context(), db, o) }
		a, err := open(Options{KeyFile: path})
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("key file mode %v, want 0600", info.Mode())
		}
		sealed := a.Sealer().Seal("x", []byte("secret"))

		again, err := open(Options{KeyFile: path})
		if err != nil {
			t.Fatalf("second start: %v", err)
		}
		if plain, err := again.Sealer().Open("x", sealed); err != nil || string(plain) != "secret" {
			t.Errorf("after a restart: %q, %v", plain, err)
		}
		key, err := ParseMasterKey(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(Options{MasterKey: key}); err != nil {
			t.Errorf("the same key from the environment: %v", err)
		}
		if _, err := open(Options{MasterKey: testKey(9)}); err == nil || !strings.Contains(err.Error(), "not the one") {
			t.Errorf("another key: %v", err)
		}
		elsewhere := filepath.Join(t.TempDir(), KeyFileName)
		if _, err := open(Options{KeyFile: elsewhere}); err == nil || !strings.Contains(err.Error(), "copy the first node's") {
			t.Errorf("a second node without the key: %v", err)
		}
		if _, err := os.Stat(elsewhere); !errors.Is(err, os.ErrNotExist) {
			t.Error("a key file was made for a database that has another key")
		}
		if _, err := open(Options{}); err == nil || !strings.Contains(err.Error(), "RIALTO_SECRET_KEY") {
			t.Errorf("no key at all: %v", err)
		}
		if runtime.GOOS != "windows" {
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := open(Options{KeyFile: path}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("a key file that others can read: %v", err)
			}
		}
	})
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), KeyFileName)
	keys := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, err := createKeyFile(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Fatal("two processes got different keys")
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files are left, want 1", len(entries))
	}
}

func TestParseMasterKey(t *testing.T) {
	key := testKey(0xfb)
	for _, s := range []string{
		hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)),
		base64.StdEncoding.EncodeToString(key), base64.RawStdEncoding.EncodeToString(key),
		base64.URLEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key) + "\n",
	} {
		if got, err := ParseMasterKey(s); err != nil || !bytes.Equal(got, key) {
			t.Errorf("ParseMasterKey(%q) = %x, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "short", hex.EncodeToString(key[:31]), base64.StdEncoding.EncodeToString(append(key, 1)), "密钥"} {
		if _, err := ParseMasterKey(s); err == nil {
			t.Errorf("ParseMasterKey(%q) succeeded", s)
		}
	}
}

func TestSealerBindsThePurpose(t *testing.T) {
	s := newSealer(testKey(1))
	sealed := s.Seal("connection/1", []byte("密码"))
	if plain, err := s.Open("connection/1", sealed); err != nil || string(plain) != "密码" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	if bytes.Contains(sealed, []byte("密码")) || bytes.Equal(sealed, s.Seal("connection/1", []byte("密码"))) {
		t.Error("sealed bytes show the secret, or are the same each time")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another purpose": func() ([]byte, error) { return s.Open("connection/2", sealed) },
		"changed":         func() ([]byte, error) { return s.Open("connection/1", changed) },
		"cut off":         func() ([]byte, error) { return s.Open("connection/1", sealed[:5]) },
		"empty":           func() ([]byte, error) { return s.Open("connection/1", nil) },
		"another key":     func() ([]byte, error) { return newSealer(testKey(2)).Open("connection/1", sealed) },
	} {
		if _, err := open(); !errors.Is(err, ErrUnseal) {
			t.Errorf("%s: %v, want ErrUnseal", name, err)
		}
	}
}

func TestAccessKeys(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		a := node(t, db, c)
		ctx := t.Context()
		k, secret := mustCreate(t, a, "111111111111", Operator)
		if len(k.ID) != 20 || !strings.HasPrefix(k.ID, "RLTO") || len(secret) != 40 {
			t.Errorf("id %q, secret of %d", k.ID, len(secret))
		}
		var stored []byte
		if err := db.QueryRow(ctx, `SELECT secret FROM access_key WHERE id = $1`, k.ID).Scan(&stored); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(stored, []byte(secret)) {
			t.Error("the secret is stored in the clear")
		}
		got, err := a.Lookup(ctx, k.ID)
		want := awsapi.Credential{Secret: secret, Principal: awsapi.Principal{KeyID: k.ID, Account: "111111111111", Role: "operator"}}
		if err != nil || got != want {
			t.Errorf("Lookup = %+v, %v; want %+v", got, err, want)
		}
		for _, id := range []string{"", "RLTO", "AKIAIOSFODNN7EXAMPLE", strings.ToLower(k.ID), k.ID[:19] + "\x00", k.ID[:19] + "\xff"} {
			if _, err := a.Lookup(ctx, id); !errors.Is(err, awsapi.ErrUnknownKey) {
				t.Errorf("Lookup(%q): %v, want ErrUnknownKey", id, err)
			}
		}

		c.add(time.Minute)
		fresh, freshSecret, err := a.RotateKey(ctx, k.ID, time.Hour, "RLTOBY")
		if err != nil {
			t.Fatal(err)
		}
		if fresh.ID == k.ID || freshSecret == secret || fresh.Account != k.Account || fresh.Role != k.Role ||
			fresh.Description != k.Description || fresh.CreatedBy != "RLTOBY" {
			t.Errorf("rotated key %+v", fresh)
		}
		for _, id := range []string{k.ID, fresh.ID} {
			if _, err := a.Lookup(ctx, id); err != nil {
				t.Errorf("during the overlap: %v", err)
			}
		}
		c.add(time.Hour)
		if _, err := a.Lookup(ctx, k.ID); !errors.Is(err, awsapi.ErrUnknownKey) {
			t.Errorf("after the overlap: %v", err)
		}
		if _, _, err := a.RotateKey(ctx, k.ID, 0, ""); !errors.Is(err, ErrKeyEnded) {
			t.Errorf("rotate an ended key: %v", err)
		}
		if err := a.RevokeKey(ctx, fresh.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Lookup(ctx, fresh.ID); !errors.Is(err, awsapi.ErrUnknownKey) {
			t.Errorf("after revocation: %v", err)
		}
		for _, id := range []string{"RLTOAAAAAAAAAAAAAAAA", "x\x00", "\xff"} {
			if err := a.RevokeKey(ctx, id); !errors.Is(err, ErrNoKey) {
				t.Errorf("revoke %q: %v, want ErrNoKey", id, err)
			}
		}
		mustCreate(t, a, "222222222222", Reader)
		for account, n := range map[string]int{"111111111111": 2, "222222222222": 1, "333333333333": 0, "": 3} {
			if keys, err := a.ListKeys(ctx, account); err != nil || len(keys) != n {
				t.Errorf("ListKeys(%q): %d keys, %v; want %d", account, len(keys), err, n)
			}
		}
		keys, err := a.ListKeys(ctx, "111111111111")
		if err != nil || keys[0].ReplacedBy != fresh.ID || keys[1].RevokedAt.IsZero() {
			t.Errorf("list = %+v, %v", keys, err)
		}
	})
}

func TestCreateKeyRefuses(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	for name, n := range map[string]NewKey{
		"a short account":    {Account: "1", Role: Admin},
		"letters":            {Account: "12345678901a", Role: Admin},
		"an unknown role":    {Account: "111111111111", Role: "root"},
		"a long description": {Account: "111111111111", Role: Admin, Description: strings.Repeat("长", 257)},
		"a NUL":              {Account: "111111111111", Role: Admin, Description: "a\x00"},
		"invalid UTF-8":      {Account: "111111111111", Role: Admin, Description: "\xff"},
	} {
		if _, _, err := a.CreateKey(t.Context(), n); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestOtherNodesHonourARevocationWithinASecond(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		here, there := node(t, db, c), node(t, db, c)
		k, _ := mustCreate(t, here, "111111111111", Admin)
		if _, err := there.Lookup(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
		if err := here.RevokeKey(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Lookup(t.Context(), k.ID); !errors.Is(err, awsapi.ErrUnknownKey) {
			t.Errorf("here: %v", err)
		}
		c.add(time.Second)
		if _, err := there.Lookup(t.Context(), k.ID); !errors.Is(err, awsapi.ErrUnknownKey) {
			t.Errorf("there, a second later: %v", err)
		}
	})
}

func TestDevModeEndsForGoodWithTheFirstAdminKey(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		a, other := node(t, db, c), node(t, db, c)
		ctx := t.Context()
		if !a.DevMode(ctx) || !other.DevMode(ctx) {
			t.Fatal("a new installation is not in dev mode")
		}
		mustCreate(t, a, "111111111111", Operator)
		if !a.DevMode(ctx) {
			t.Error("a key that is no admin's ended dev mode")
		}
		k, _ := mustCreate(t, a, "111111111111", Admin)
		if a.DevMode(ctx) {
			t.Error("dev mode goes on with an admin key")
		}
		c.add(time.Second)
		if other.DevMode(ctx) {
			t.Error("dev mode goes on, a second later, on another node")
		}
		if err := a.RevokeKey(ctx, k.ID); err != nil {
			t.Fatal(err)
		}
		c.add(time.Minute)
		if a.DevMode(ctx) {
			t.Error("revoking the last admin key opened the server")
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		c.add(time.Minute)
		if a.DevMode(ended) {
			t.Error("dev mode although the database could not be asked")
		}
	})
}

func TestInternalCredentials(t *testing.T) {
	db := storetest.SQLite(t)
	a, b := node(t, db, newClock()), node(t, db, newClock())
	id, secret := a.InternalCredentials("111111111111")
	if len(id) < 16 || len(secret) != 40 {
		t.Errorf("id %q, secret of %d", id, len(secret))
	}
	got, err := b.Lookup(t.Context(), id)
	if err != nil || got.Secret != secret || got.Principal.Account != "111111111111" || got.Principal.Role != "admin" {
		t.Errorf("Lookup on another node = %+v, %v", got, err)
	}
	if _, other := a.InternalCredentials("222222222222"); other == secret {
		t.Error("two accounts have the same secret")
	}
	for _, id := range []string{"RLTI", "RLTI11111111111", "RLTI1111111111111", "RLTI11111111111x"} {
		if _, err := a.Lookup(t.Context(), id); !errors.Is(err, awsapi.ErrUnknownKey) {
			t.Errorf("Lookup(%q): %v", id, err)
		}
	}
}

func TestCheckExposure(t *testing.T) {
	c := newClock()
	a := node(t, storetest.SQLite(t), c)
	ctx := t.Context()
	public := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	tests := []struct {
		name    string
		listen  []string
		public  *url.URL
		refused bool
	}{
		{"IPv4 loopback", []string{"127.0.0.1:7425"}, nil, false},
		{"the rest of 127/8", []string{"127.8.8.8:0"}, nil, false},
		{"IPv6 loopback", []string{"[::1]:7425"}, nil, false},
		{"localhost", []string{"localhost:7425"}, nil, false},
		{"all addresses", []string{":7425"}, nil, true},
		{"all IPv4 addresses", []string{"0.0.0.0:7425"}, nil, true},
		{"all IPv6 addresses", []string{"[::]:7425"}, nil, true},
		{"a private address", []string{"10.0.0.1:7425"}, nil, true},
		{"a name", []string{"rialto.internal:7425"}, nil, true},
		{"one of two", []string{"127.0.0.1:7425", "192.0.2.1:7425"}, nil, true},
		{"a tunnel to loopback", []string{"127.0.0.1:7425"}, public("https://rialto.example.com"), true},
		{"a public URL that is loopback", []string{"127.0.0.1:7425"}, public("http://localhost:7425"), false},
	}
	check := func(t *testing.T, withKey bool) {
		for _, tt := range tests {
			err := a.CheckExposure(ctx, tt.listen, tt.public)
			if refused := err != nil; refused != (tt.refused && !withKey) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if err != nil && !strings.Contains(err.Error(), "rialto keys create") {
				t.Errorf("%s: the error does not say what to do: %v", tt.name, err)
			}
		}
	}
	mustCreate(t, a, "111111111111", Operator)
	check(t, false)
	k, _ := mustCreate(t, a, "111111111111", Admin)
	check(t, true)
	if err := a.RevokeKey(ctx, k.ID); err != nil {
		t.Fatal(err)
	}
	check(t, false)
}

func TestRoles(t *testing.T) {
	want := map[Role]string{
		Admin: "read publish write administer", Operator: "read publish write",
		Publisher: "publish", Reader: "read", "": "", "root": "",
	}
	for role, permissions := range want {
		var has []string
		for _, p := range []Permission{Read, Publish, Write, Administer} {
			if role.Has(p) {
				has = append(has, string(p))
			}
		}
		if got := strings.Join(has, " "); got != permissions {
			t.Errorf("%q may %q, want %q", role, got, permissions)
		}
	}
}

func TestCacheDropsWhatWasReadBeforeAChange(t *testing.T) {
	c := newCache[string, int](newClock().now)
	_, err := c.get("k", func() (int, error) {
		c.changed() // somebody commits while we read
		return 1, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := c.get("k", func() (int, error) { return 2, nil }); v != 2 {
		t.Errorf("the cache kept %d, read before the change", v)
	}
	if v, _ := c.get("k", func() (int, error) { return 3, nil }); v != 2 {
		t.Errorf("the cache did not keep 2: %d", v)
	}
	if _, err := c.get("x", func() (int, error) { return 0, errors.New("no") }); err == nil {
		t.Error("the failure was lost")
	}
	if v, err := c.get("x", func() (int, error) { return 4, nil }); v != 4 || err != nil {
		t.Errorf("the failure was kept: %d, %v", v, err)
	}
}

func BenchmarkLookup(b *testing.B) {
	db := storetest.SQLite(b)
	a, err := Open(b.Context(), db, Options{MasterKey: testKey(1)})
	if err != nil {
		b.Fatal(err)
	}
	k, _, err := a.CreateKey(b.Context(), NewKey{Account: "111111111111", Role: Admin})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := a.Lookup(b.Context(), k.ID); err != nil {
			b.Fatal(err)
		}
	}
}
