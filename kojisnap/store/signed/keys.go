package signed

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"kojisnap/kojisnap/durable"
)

// The types of PEM blocks, as openssl has them.
const (
	privateBlock = "PRIVATE KEY" // PKCS #8
	publicBlock  = "PUBLIC KEY"  // PKIX
)

// maxKeyFile is more than some hundred keys take.
const maxKeyFile = 64 << 10

// PublicKey verifies signatures.
type PublicKey struct {
	key ed25519.PublicKey
	id  string
}

// ID identifies the key: the first 16 hex digits of the SHA-256 of its PKIX form in DER.
func (k PublicKey) ID() string { return k.id }

// PrivateKey makes signatures.
type PrivateKey struct{ key ed25519.PrivateKey }

// Public returns the half that verifies.
func (k PrivateKey) Public() PublicKey {
	public, err := newPublicKey(k.key.Public())
	if err != nil {
		panic(err) // it never fails for a valid key
	}
	return public
}

// newPublicKey takes what crypto/x509 parsed.
func newPublicKey(key any) (PublicKey, error) {
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("a key of another kind than ed25519 (%T)", key)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return PublicKey{}, err
	}
	sum := sha256.Sum256(der)
	return PublicKey{public, hex.EncodeToString(sum[:8])}, nil
}

// PublicFile is where Generate puts the public half of the key in a file.
func PublicFile(private string) string { return private + ".pub" }

// Generate makes a key and writes it: the private half into a file that only its owner may read, the
// public one into PublicFile. A file that is there already is fs.ErrExist, and stays.
func Generate(file string) (PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return PublicKey{}, err
	}
	key, err := newPublicKey(public)
	if err != nil {
		return PublicKey{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return PublicKey{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return PublicKey{}, err
	}
	if err := CheckNew(file); err != nil {
		return PublicKey{}, err
	}
	if err := durable.CreateSecret(file, writePEM(privateBlock, secret)); err != nil {
		return PublicKey{}, err
	}
	if err := durable.CreateFile(PublicFile(file), writePEM(publicBlock, der)); err != nil {
		return PublicKey{}, errors.Join(err, durable.Remove(file)) // it is ours, and nobody has it yet
	}
	return key, nil
}

// CheckNew says whether Generate could write to file: fs.ErrExist if something is there.
func CheckNew(file string) error {
	for _, name := range []string{file, PublicFile(file)} {
		if _, err := os.Lstat(name); err == nil {
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func writePEM(block string, der []byte) func(io.Writer) error {
	return func(w io.Writer) error { return pem.Encode(w, &pem.Block{Type: block, Bytes: der}) }
}

// ReadPrivate reads the private key in a file, in PEM. One that everybody may read is refused.
func ReadPrivate(file string) (PrivateKey, error) {
	blocks, mode, err := readKeys(file)
	switch {
	case err != nil:
		return PrivateKey{}, err
	case len(blocks) != 1 || blocks[0].Type != privateBlock:
		return PrivateKey{}, fmt.Errorf("%s holds %s, and not one %s without a password; kojisnap keygen makes one", file, blockTypes(blocks), privateBlock)
	case mode&0o007 != 0:
		return PrivateKey{}, fmt.Errorf("%s has mode %04o, so that everybody on this machine can sign: chmod o= %s, and make another key if somebody may have read it", file, mode, file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(blocks[0].Bytes)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%s: %w", file, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return PrivateKey{}, fmt.Errorf("%s holds a key of another kind than ed25519 (%T)", file, parsed)
	}
	return PrivateKey{key}, nil
}

// ReadPublic reads the public keys in a file, in PEM: one or more.
func ReadPublic(file string) ([]PublicKey, error) {
	blocks, _, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	var keys []PublicKey
	for _, b := range blocks {
		if b.Type == privateBlock {
			return nil, fmt.Errorf("%s holds a private key, which belongs where snapshots are pulled, and nowhere else: give its public half, %s", file, PublicFile(file))
		}
		if b.Type != publicBlock {
			return nil, fmt.Errorf("%s holds a %s, and not a %s", file, b.Type, publicBlock)
		}
		parsed, err := x509.ParsePKIXPublicKey(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		key, err := newPublicKey(parsed)
		if err != nil {
			return nil, fmt.Errorf("%s holds %w", file, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no %s in PEM", file, publicBlock)
	}
	return keys, nil
}

// readKeys reads the PEM blocks of a regular file. It refuses other files: reading one could block.
func readKeys(file string) (blocks []*pem.Block, mode fs.FileMode, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, 0, fmt.Errorf("%s is no file of keys", file)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, 0, err
	}
	for {
		var b *pem.Block
		if b, body = pem.Decode(body); b == nil {
			return blocks, info.Mode().Perm(), nil
		}
		blocks = append(blocks, b)
	}
}

func blockTypes(blocks []*pem.Block) string {
	switch len(blocks) {
	case 0:
		return "nothing in PEM"
	case 1:
		return "a " + blocks[0].Type
	}
	return fmt.Sprint(len(blocks), " things in PEM")
}
