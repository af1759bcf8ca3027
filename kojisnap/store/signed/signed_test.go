package signed_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/signed"
	"kojisnap/kojisnap/store/storetest"
)

func newDir(t *testing.T) *dir.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newKey makes a key and returns it and its file.
func newKey(t *testing.T) (signed.PrivateKey, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if _, err := signed.Generate(file); err != nil {
		t.Fatal(err)
	}
	key, err := signed.ReadPrivate(file)
	if err != nil {
		t.Fatal(err)
	}
	return key, file
}

func TestContract(t *testing.T) {
	open := func(t *testing.T) store.Store {
		key, _ := newKey(t)
		return signed.New(newDir(t), signed.Options{Sign: &key})
	}
	storetest.Run(t, open)
	storetest.RunCreator(t, open)
}

func get(t *testing.T, s store.Store, name string) (string, error) {
	t.Helper()
	r, err := s.Get(t.Context(), name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}

func put(t *testing.T, s store.Store, name, body string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

// openssl runs openssl, and skips the test where there is none.
func openssl(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("KOJISNAP_TEST_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip("no openssl")
	}
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %q: %v: %s", args, err, out)
	}
	return string(out)
}

const manifest = "snapshots/419-0123456789ab.json"

// TestOpenSSL: openssl makes the keys that are read here, reads those that are made here, and verifies the
// signatures.
func TestOpenSSL(t *testing.T) {
	at := t.TempDir()
	theirs, ours := filepath.Join(at, "theirs"), filepath.Join(at, "ours")
	openssl(t, "genpkey", "-algorithm", "ed25519", "-out", theirs)
	openssl(t, "pkey", "-in", theirs, "-pubout", "-out", theirs+".pub")
	if _, err := signed.Generate(ours); err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(ours + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if got := openssl(t, "pkey", "-in", ours, "-pubout"); got != string(public) {
		t.Errorf("the public half is %q for openssl, %q here", got, public)
	}
	for _, file := range []string{theirs, ours} {
		key, err := signed.ReadPrivate(file)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := signed.ReadPublic(file + ".pub")
		if err != nil || len(trust) != 1 || trust[0].ID() != key.Public().ID() {
			t.Fatal(trust, err)
		}
		below := newDir(t)
		put(t, signed.New(below, signed.Options{Sign: &key}), manifest, "{}")
		if got, err := get(t, signed.New(below, signed.Options{Trust: trust}), manifest); got != "{}" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		line, err := get(t, below, snapfile.SignatureObject(manifest))
		fields := strings.Fields(line)
		if err != nil || len(fields) != 3 || fields[0] != "ed25519" || fields[1] != key.Public().ID() {
			t.Fatal(line, err)
		}
		raw, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		signature := filepath.Join(at, "signature")
		if err := os.WriteFile(signature, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		openssl(t, "pkeyutl", "-verify", "-pubin", "-inkey", file+".pub", "-rawin", "-in", filepath.Join(below.String(), manifest), "-sigfile", signature)
	}
}

// TestKeyFiles: a private key is its owner's alone, and is never written over; a file that is not the
// key that is wanted is refused with the reason.
func TestKeyFiles(t *testing.T) {
	_, file := newKey(t)
	for name, mode := range map[string]fs.FileMode{file: 0o600, file + ".pub": 0o644} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	again := func(lost string) {
		t.Helper()
		if err := os.Rename(lost, lost+".away"); err != nil {
			t.Fatal(err)
		}
		defer os.Rename(lost+".away", lost)
		if _, err := signed.Generate(file); !errors.Is(err, fs.ErrExist) {
			t.Errorf("without %s: %v", lost, err)
		}
		if _, err := os.Lstat(lost); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half of a key was made: %s, %v", lost, err)
		}
	}
	again(file)
	again(file + ".pub")
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the key was written over: %v", err)
	}

	other := filepath.Join(t.TempDir(), "other")
	openssl(t, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", other)
	openssl(t, "pkey", "-in", other, "-pubout", "-out", other+".pub")
	locked := filepath.Join(t.TempDir(), "locked")
	openssl(t, "pkey", "-in", file, "-aes256", "-passout", "pass:x", "-out", locked)
	empty := filepath.Join(t.TempDir(), "empty")
	open := filepath.Join(t.TempDir(), "open")
	for name, body := range map[string]string{empty: "", open: string(before)} {
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, map[bool]fs.FileMode{true: 0o644, false: 0o600}[name == open]); err != nil {
			t.Fatal(err)
		}
	}
	private := func(file string) error { _, err := signed.ReadPrivate(file); return err }
	public := func(file string) error { _, err := signed.ReadPublic(file); return err }
	for _, c := range []struct {
		read func(string) error
		file string
		says string
	}{
		{private, open, "chmod"}, {private, other, "another kind than ed25519"}, {private, locked, "ENCRYPTED PRIVATE KEY"}, {private, empty, "nothing in PEM"},
		{private, t.TempDir(), "no file of keys"}, {private, "/dev/zero", "no file of keys"}, {private, file + ".none", "no such file"},
		{public, file, file + ".pub"}, {public, other + ".pub", "another kind than ed25519"}, {public, empty, "no PUBLIC KEY in PEM"}, {public, "/dev/zero", "no file of keys"},
	} {
		if err := c.read(c.file); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.file, err, c.says)
		}
	}
}

// TestRotation: of several keys that are trusted, and several signatures, one good pair is enough; a bad
// signature by a key that is trusted beside it does no harm.
func TestRotation(t *testing.T) {
	old, _ := newKey(t)
	new, _ := newKey(t)
	below := newDir(t)
	put(t, signed.New(below, signed.Options{Sign: &old}), manifest, "{}")
	first, err := get(t, below, snapfile.SignatureObject(manifest))
	if err != nil {
		t.Fatal(err)
	}
	trusts := func(keys ...signed.PrivateKey) bool {
		t.Helper()
		var o signed.Options
		for _, k := range keys {
			o.Trust = append(o.Trust, k.Public())
		}
		_, err := get(t, signed.New(below, o), manifest)
		var untrusted *snapfile.UntrustedError
		var damaged *snapfile.DamagedError
		if err != nil && (!errors.As(err, &untrusted) || !errors.As(err, &damaged)) {
			t.Error(err)
		}
		return err == nil
	}
	if !trusts(old) || !trusts(new, old) || trusts(new) {
		t.Errorf("old %v, both %v, new %v", trusts(old), trusts(new, old), trusts(new))
	}
	fields := strings.Fields(first)
	put(t, below, snapfile.SignatureObject(manifest), "rsa 1 2\ned25519 "+new.Public().ID()+" "+fields[2]+"\n"+first)
	if !trusts(old) || !trusts(new, old) || trusts(new) {
		t.Errorf("of three signatures: old %v, both %v, new %v", trusts(old), trusts(new, old), trusts(new))
	}
}

// TestParts: what a pull keeps to go on is there only as it was put, under its own name.
func TestParts(t *testing.T) {
	key, _ := newKey(t)
	other, _ := newKey(t)
	below := newDir(t)
	s := signed.New(below, signed.Options{Sign: &key})
	put(t, s, "pulls/a/state", "of a")
	if got, err := get(t, s, "pulls/a/state"); got != "of a" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	body, err := get(t, below, "pulls/a/state")
	if err != nil {
		t.Fatal(err)
	}
	put(t, below, "pulls/b/state", body)
	put(t, below, "pulls/c/state", "forged")
	put(t, below, "pulls/d/state", "x"+body)
	put(t, signed.New(below, signed.Options{Sign: &other}), "pulls/e/state", "of e")
	for _, name := range []string{"pulls/b/state", "pulls/c/state", "pulls/d/state", "pulls/e/state"} {
		if got, err := get(t, s, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// failing is a store that takes no manifest.
type failing struct{ store.Store }

var errFull = errors.New("full")

func (f failing) Put(ctx context.Context, name string, src io.ReadSeeker) error {
	if _, is := snapfile.IDOfObject(name); is {
		return errFull
	}
	return f.Store.Put(ctx, name, src)
}

// TestSignatureFirst: an interruption between signature and manifest leaves no unsigned snapshot behind.
func TestSignatureFirst(t *testing.T) {
	key, _ := newKey(t)
	below := newDir(t)
	s := signed.New(failing{below}, signed.Options{Sign: &key})
	for _, write := range []func(context.Context, string, io.ReadSeeker) error{s.Put, s.Create} {
		if err := write(t.Context(), manifest, strings.NewReader("{}")); !errors.Is(err, errFull) {
			t.Fatal(err)
		}
	}
	if _, err := get(t, below, snapfile.SignatureObject(manifest)); err != nil {
		t.Errorf("the manifest came before its signature: %v", err)
	}
	if _, err := get(t, s, manifest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a signature alone is %v", err)
	}
}
