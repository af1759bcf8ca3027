package verify

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"kojisnap/volumes"
)

// candidate is a copy of an rpm that a compose may take.
type candidate struct {
	dir    string // of the build, below topdir
	file   volumes.File
	known  bool // there is a signature row of the key, or this is the unsigned rpm
	wanted bool // the plan of files chose it; true for all if no hub said which signatures there are
}

func (c candidate) what() string {
	if c.file.Kind == volumes.KindRPM {
		return "the unsigned rpm"
	}
	return "the copy signed by " + c.file.Key
}

// copyFinder finds the copies of rpms that a compose may take.
type copyFinder struct{ *verifier }

// copies returns the copies that a compose looks for, in its order. For an rpm that production does not have,
// staging's signatures count.
func (v copyFinder) copies(r *taggedRPM) ([]candidate, error) {
	b := volumes.Build{Name: r.build.name, Version: r.build.version, Release: r.build.release, Volume: r.build.volume}
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	rpm := volumes.RPM{Name: r.name, Version: r.version, Release: r.release, Arch: r.arch}
	digest, err := volumes.RPMDigest(r.payloadHash)
	if err != nil {
		return nil, fmt.Errorf("the database's payloadhash: %w: what the file holds cannot be checked", err)
	}
	production, told := v.sigs[r.id]
	if !told {
		production, told = v.rows[r.id]
	}
	chosen := false
	var list []candidate
	for _, key := range v.keys() {
		path, err := rpm.SignedPath(key)
		if err != nil {
			return nil, err
		}
		c := candidate{dir: dir, file: volumes.File{Path: path, Kind: volumes.KindSigned, Size: -1, Digest: digest, Key: strings.ToLower(key)}}
		of := func(s signature) bool { return strings.EqualFold(s.key, key) }
		if i := slices.IndexFunc(production, of); i >= 0 {
			c.known, c.wanted, chosen = true, !chosen, true
			if hash := production[i].hash; isHex(hash, md5.Size) { // a hub does not tell it
				c.file.SigDigest = "md5:" + strings.ToLower(hash)
			}
		}
		c.known = c.known || !told || slices.ContainsFunc(v.rows[r.id], of)
		c.wanted = c.wanted || !told
		list = append(list, c)
	}
	if len(list) == 0 || slices.Contains(v.SigKeys, "") {
		path, err := rpm.Path()
		if err != nil {
			return nil, err
		}
		var headers []volumes.Signature
		for _, s := range production {
			headers = append(headers, volumes.Signature{Key: s.key, Hash: s.hash})
		}
		f := volumes.File{Path: path, Kind: volumes.KindRPM, Size: r.size, Digest: digest, Headers: volumes.Headers(headers)}
		list = append(list, candidate{dir: dir, file: f, known: true, wanted: !chosen})
	}
	return list, nil
}

// errUnsigned says that an rpm has no copy that a compose may take.
func (v copyFinder) errUnsigned() error {
	return fmt.Errorf("production has no copy signed by these keys (%s); --sigkey '' allows unsigned ones", strings.Join(v.keys(), ", "))
}

// keys returns the wanted keys without "".
func (v copyFinder) keys() []string {
	return slices.DeleteFunc(slices.Clone(v.SigKeys), func(key string) bool { return key == "" })
}

// isHex reports whether s is hex of that many bytes.
func isHex(s string, bytes int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == bytes
}
