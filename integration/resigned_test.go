package integration_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestContentChangedUnderOneName: production signs an rpm again with the same key, or makes a build anew
// under its NVR. The sync that brings the rows brings the files, without verify and without an audit, as new
// ones: what a compose has linked stays as it was. A ledger of an earlier version, which does not know of
// what signature header a copy is, is found out by verify in the same sync.
func TestContentChangedUnderOneName(t *testing.T) {
	for _, c := range []struct {
		name string
		old  bool // the ledger is of an earlier version
		more []string
	}{
		{name: "without verify", more: []string{"--no-verify"}},
		{name: "with verify"},
		{name: "a ledger of an earlier version", old: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.init(t)
			config := w.config(t, "f42-compose")
			succeed(t, "sync", "-c", config)
			staged := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/x86_64/bash-5*.rpm"))
			prod := strings.Replace(staged, filepath.Join(w.topdir, "vol/staged"), w.prodTree, 1)
			before, err := os.ReadFile(staged)
			must(t, err)
			link := filepath.Join(t.TempDir(), "compose.rpm")
			must(t, os.Link(staged, link))
			if c.old {
				ledger, err := hardlink.ReadLedger(w.topdir)
				must(t, err)
				earlier := 0
				for _, b := range ledger.Builds {
					for i := range b.Entries {
						digest, _, known := strings.Cut(b.Entries[i].Digest, "+")
						if b.Entries[i].Digest = digest; known {
							earlier++
						}
					}
				}
				var text bytes.Buffer
				_, err = ledger.WriteTo(&text)
				must(t, err)
				must(t, os.WriteFile(filepath.Join(w.topdir, ".kojisnap/ledger"), text.Bytes(), 0o644))
				if earlier == 0 {
					t.Fatal("the ledger knows no signature headers")
				}
			}

			after := signedAgain(t, before)
			anew(t, prod, after)
			cached := onlyPath(t, filepath.Join(w.prodTree, "packages/bash/*/*/data/sigcache/41526f0e/x86_64", filepath.Base(staged)+".sig"))
			info, err := os.Stat(cached)
			must(t, err)
			header := after[96:][:info.Size()] // behind the lead
			anew(t, cached, header)
			sum := md5.Sum(header)
			must(t, w.prodRows.Change(func(tx *hubtest.Tx) error {
				rpms, err := tx.Select("rpminfo", hubtest.Values{"name": "bash", "version": "5.3.0", "arch": "x86_64"})
				if err != nil || len(rpms) != 1 {
					return fmt.Errorf("%d rpms: %w", len(rpms), err)
				}
				_, err = tx.Update("rpmsigs", hubtest.Values{"rpm_id": rpms[0]["id"], "sigkey": "41526f0e"}, hubtest.Values{"sighash": hex.EncodeToString(sum[:])})
				return err
			}))
			o := kojisnapRun(t, append([]string{"sync", "-c", config, "--sweep", "1"}, c.more...)...)
			if o.code != 0 || (o.stderr != "") != c.old { // which is told
				t.Errorf("exit code %d: %s", o.code, o.stderr)
			}
			if now, err := os.ReadFile(staged); err != nil || !bytes.Equal(now, after) {
				t.Errorf("the copy is not what production has now: %v", err)
			}
			if linked, err := os.ReadFile(link); err != nil || !bytes.Equal(linked, before) {
				t.Errorf("what a compose had linked is another now: %v", err)
			}
			succeed(t, "verify", "-c", config)
			if o := kojisnapRun(t, "sync", "-c", config, "--dry-run"); o.code != 0 {
				t.Errorf("something is left to do: %s%s", o.stdout, o.stderr)
			}
		})
	}
}

// signedAgain gives an rpm another signature header of the same key: another byte where it has zeros to
// spare.
func signedAgain(t *testing.T, rpm []byte) []byte {
	t.Helper()
	const lead, intro = 96, 16
	entries := int(rpm[lead+10])<<8 | int(rpm[lead+11])
	size := int(rpm[lead+12])<<24 | int(rpm[lead+13])<<16 | int(rpm[lead+14])<<8 | int(rpm[lead+15])
	data := lead + intro + 16*entries
	spare := bytes.Index(rpm[data:data+size], make([]byte, 32))
	if spare < 0 {
		t.Fatal("the signature header has no zeros to spare")
	}
	signed := bytes.Clone(rpm)
	signed[data+spare+16] = 1
	return signed
}
