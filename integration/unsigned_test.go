package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
)

// TestDeletedSignature: production deletes a signature, as Koji's deleteRPMSig does. The next sync removes
// staging's signed copy, which a compose would take otherwise, whichever key it asks for first. The signature comes
// back, and so does the copy.
func TestDeletedSignature(t *testing.T) {
	t.Parallel()
	for i, keys := range []string{`"41526f0e", "ba2992d4", ""`, `"ba2992d4", "41526f0e", ""`} {
		t.Run(keys, func(t *testing.T) {
			t.Parallel()
			w := newLoadedEnv(t)
			config := w.config(t, "f42-compose")
			text := strings.ReplaceAll(w.read(t, config), `sigkey = ["41526f0e", ""]`, "sigkey = ["+keys+"]")
			must(t, os.WriteFile(config, []byte(text), 0o644))
			succeed(t, "sync", "-c", config)
			signed := onlyPath(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e/x86_64/bash-5*.rpm"))
			prod := strings.Replace(signed, filepath.Join(w.topdir, "vol/staged"), w.prodTree, 1)
			cached := onlyPath(t, filepath.Join(w.prodTree, "packages/bash/*/*/data/sigcache/41526f0e/x86_64", filepath.Base(signed)+".sig"))
			before, err := os.ReadFile(prod)
			must(t, err)
			header, err := os.ReadFile(cached)
			must(t, err)
			rpms, err := w.prodRows.Select("rpminfo", hubtest.Values{"name": "bash", "version": "5.3.0", "arch": "x86_64"})
			if err != nil || len(rpms) != 1 {
				t.Fatal(rpms, err)
			}
			row := hubtest.Values{"rpm_id": rpms[0]["id"], "sigkey": "41526f0e"}
			rows, err := w.prodRows.Select("rpmsigs", row)
			if err != nil || len(rows) != 1 {
				t.Fatal(rows, err)
			}
			sync := func() {
				t.Helper()
				if o := kojisnapRun(t, "sync", "-c", config, "--sweep", "1"); o.code != 0 || o.stderr != "" {
					t.Errorf("exit code %d: %s", o.code, o.stderr)
				}
				if seedtest.Long() {
					succeed(t, "verify", "-c", config) // as the sync did
				}
				if o := kojisnapRun(t, "sync", "-c", config, "--dry-run"); o.code != 0 {
					t.Errorf("something is left to do: %s%s", o.stdout, o.stderr)
				}
			}

			must(t, w.prodRows.Change(func(tx *hubtest.Tx) error {
				if n, err := tx.Delete("rpmsigs", row); err != nil || n != 1 {
					return fmt.Errorf("%d signatures: %w", n, err)
				}
				return nil
			}))
			must(t, os.Remove(prod))
			must(t, os.Remove(cached))
			sync()
			for _, path := range []string{signed, strings.Replace(cached, w.prodTree, filepath.Join(w.topdir, "vol/staged"), 1)} {
				if _, err := os.Lstat(path); !os.IsNotExist(err) {
					t.Errorf("%s is there: %v", path, err)
				}
			}

			if i > 0 && !seedtest.Long() {
				return // coming back, it is the same
			}
			must(t, w.prodRows.Insert("rpmsigs", rows[0]))
			must(t, os.WriteFile(prod, before, 0o644))
			must(t, os.WriteFile(cached, header, 0o644))
			sync()
			if now, err := os.ReadFile(signed); err != nil || string(now) != string(before) {
				t.Errorf("the copy is not made again: %v", err)
			}
		})
	}
}
