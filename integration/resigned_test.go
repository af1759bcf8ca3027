package integration_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
)

// TestContentChangedUnderOneName: production signs an rpm again with the same key, or makes a build anew
// under its NVR. The sync that brings the rows brings the files, without verify and without an audit, as new
// ones: what a compose has linked stays as it was. A ledger of an earlier version, which does not know of
// what signature header a copy is, is found out by verify in the same sync.
func TestContentChangedUnderOneName(t *testing.T) {
	t.Parallel()
	for _, c := range seedtest.Some([]struct {
		name string
		old  bool // the ledger is of an earlier version
		more []string
	}{
		{name: "without verify", more: []string{"--no-verify"}},
		{name: "with verify"},
		{name: "a ledger of an earlier version", old: true},
	}, 2) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newLoadedEnv(t)
			config := w.config(t, "f42-compose")
			succeed(t, "sync", "-c", config)
			staged := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/x86_64/bash-5*.rpm"))
			prod := strings.Replace(staged, filepath.Join(w.topdir, "vol/staged"), w.prodTree, 1)
			before, err := os.ReadFile(staged)
			must(t, err)
			link := filepath.Join(t.TempDir(), "compose.rpm")
			must(t, os.Link(staged, link))
			if c.old {
				ledger, err := ledger.Read(w.topdir)
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

// TestRebuiltUnderOneName: production resets a build that is staged and makes it anew under its NVR, and
// replaces an archive of another one. The next sync has the new content, as production's hub says it.
func TestRebuiltUnderOneName(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	config := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", config)
	staged := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/x86_64/bash-5*.rpm"))
	archive := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/postgresql-stream/*/*/files/module/modulemd.x86_64.txt"))
	production := func(path string) string {
		return strings.Replace(path, filepath.Join(w.topdir, "vol/staged"), w.prodTree, 1)
	}
	// The rpm gets another payload, and SIGMD5 of it in both copies' signature headers.
	signed, err := os.ReadFile(staged)
	must(t, err)
	plain := strings.Replace(production(staged), "data/signed/41526f0e/", "", 1)
	unsigned, err := os.ReadFile(plain)
	must(t, err)
	cached := onlyPath(t, filepath.Join(w.prodTree, "packages/bash/*/*/data/sigcache/41526f0e/x86_64", filepath.Base(staged)+".sig"))
	info, err := os.Stat(cached)
	must(t, err)
	content := bytes.Clone(signed[96+info.Size():])
	old := md5.Sum(content)
	content[len(content)-1] ^= 1
	sum := md5.Sum(content)
	again := func(rpm []byte) []byte {
		head := bytes.Replace(rpm[:len(rpm)-len(content)], old[:], sum[:], 1)
		return append(head, content...)
	}
	signed, unsigned = again(signed), again(unsigned)
	anew(t, production(staged), signed)
	anew(t, plain, unsigned)
	header := signed[96:][:info.Size()]
	anew(t, cached, header)
	sighash := md5.Sum(header)
	text, err := os.ReadFile(archive)
	must(t, err)
	text = append(text, "# made again\n"...)
	anew(t, production(archive), text)
	digest := sha256.Sum256(text)

	must(t, w.prodRows.Change(func(tx *hubtest.Tx) error {
		builds, err := tx.Select("rpminfo", hubtest.Values{"name": "bash", "version": "5.3.0", "arch": "x86_64"})
		if err != nil || len(builds) != 1 {
			return fmt.Errorf("%d rpms: %w", len(builds), err)
		}
		build := builds[0]["build_id"]
		rpms, err := tx.Select("rpminfo", hubtest.Values{"build_id": build})
		if err != nil {
			return err
		}
		if _, err := tx.Delete("rpminfo", hubtest.Values{"build_id": build}); err != nil {
			return err
		}
		for _, r := range rpms {
			was := r["id"].(int64)
			sigs, err := tx.Select("rpmsigs", hubtest.Values{"rpm_id": was})
			if err != nil {
				return err
			}
			for _, table := range []string{"rpmsigs", "rpm_checksum", "buildroot_listing", "archive_rpm_components"} {
				if _, err := tx.Delete(table, hubtest.Values{"rpm_id": was}); err != nil {
					return err
				}
			}
			chosen := r["name"] == "bash" && r["arch"] == "x86_64"
			if r["id"] = was + 100000; chosen {
				r["payloadhash"] = hex.EncodeToString(sum[:])
			}
			if err := tx.Insert("rpminfo", r); err != nil {
				return err
			}
			for _, s := range sigs {
				if s["rpm_id"] = was + 100000; chosen && s["sigkey"] == "41526f0e" {
					s["sighash"] = hex.EncodeToString(sighash[:])
				} else if chosen {
					continue // of no interest here
				}
				if err := tx.Insert("rpmsigs", s); err != nil {
					return err
				}
			}
		}
		if _, err := tx.Update("build", hubtest.Values{"id": build}, hubtest.Values{"create_event": int64(lastEvent)}); err != nil {
			return err
		}
		n, err := tx.Update("archiveinfo", hubtest.Values{"filename": "modulemd.x86_64.txt"}, hubtest.Values{"size": int64(len(text)), "checksum_type": int64(2), "checksum": hex.EncodeToString(digest[:])})
		if err != nil || n != 1 {
			return fmt.Errorf("%d archives: %w", n, err)
		}
		return nil
	}))
	o := kojisnapRun(t, "sync", "-c", config, "--sweep", "1")
	if o.code != 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	for path, want := range map[string][]byte{staged: signed, strings.Replace(plain, w.prodTree, filepath.Join(w.topdir, "vol/staged"), 1): unsigned, archive: text} {
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what production has now: %v", path, err)
		}
	}
	succeed(t, "verify", "-c", config)
}
