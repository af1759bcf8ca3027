package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/jsondoc"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestStoreCommands runs what works on a store, on a directory and on S3.
func TestStoreCommands(t *testing.T) {
	rows := modularRows(t)
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	for name, place := range map[string]func(t *testing.T) string{
		"dir": func(t *testing.T) string { return t.TempDir() },
		"s3":  func(t *testing.T) string { return s3test.Start(t).URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			at := place(t)
			pull := func(event string) string {
				t.Helper()
				return strings.TrimSpace(kojisnapOK(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-compose", "--event", event, "--store", at))
			}
			early, late := pull("300"), pull("419")
			if got := lines(kojisnapOK(t, "snapshots", "--store", at)); len(got) != 2 || !strings.HasPrefix(got[0], late+" ") || !strings.HasPrefix(got[1], early+" ") {
				t.Errorf("snapshots: %q", got)
			}
			if got := kojisnapOK(t, "show", "latest", "--store", at); !strings.HasPrefix(got, "snapshot "+late+"\n") {
				t.Errorf("show: %q", got)
			}

			var diff repository.DiffResult
			if err := json.Unmarshal([]byte(kojisnapOK(t, "diff", early, "latest", "--store", at, "--json")), &diff); err != nil {
				t.Fatal(err)
			}
			if diff.A.ID != early || diff.B.ID != late || len(diff.Relations) == 0 {
				t.Errorf("diff: %+v", diff)
			}
			text := lines(kojisnapOK(t, "diff", early, late, "--store", at))
			want, asText, asJSON := map[string]int64{}, map[string]int64{}, map[string]int64{}
			for i, r := range diff.Relations {
				if i >= len(text) || text[i] != fmt.Sprintf("%s: %d added, %d removed, %d changed", r.Relation, r.Added, r.Removed, r.Changed) {
					t.Fatalf("diff as text: %q", text)
				}
				for sign, n := range map[string]int64{"+ ": r.Added, "- ": r.Removed, "~ ": r.Changed} {
					if n > 0 {
						want[sign+r.Relation] = n
					}
				}
			}
			for _, l := range lines(kojisnapOK(t, "diff", early, late, "--store", at, "--rows")) {
				asText[strings.Join(strings.Fields(l)[:2], " ")]++
			}
			var rows rowsResult
			if err := json.Unmarshal([]byte(kojisnapOK(t, "diff", early, late, "--store", at, "--rows", "--json")), &rows); err != nil {
				t.Fatal(err)
			}
			for _, row := range rows.Rows {
				asJSON[map[string]string{"added": "+ ", "removed": "- ", "changed": "~ "}[row.Change]+row.Relation]++
			}
			if len(want) == 0 || !maps.Equal(asText, want) || !maps.Equal(asJSON, want) {
				t.Errorf("rows as text: %v\nas JSON: %v\nwant: %v", asText, asJSON, want)
			}
			if got := kojisnapOK(t, "diff", late, late, "--store", at); got != "" {
				t.Errorf("diff with itself: %q", got)
			}

			if out, errs, code := kojisnapRun(t, "prune", "--keep", "1", "--store", at, "--dry-run"); code != exit.NotReady || out != "remove snapshot "+early+"\n" || errs != "" {
				t.Errorf("prune --dry-run: %d, %q, %q", code, out, errs)
			}
			var pruned repository.PruneResult
			if err := json.Unmarshal([]byte(kojisnapOK(t, "prune", "--keep", "1", "--store", at, "--json")), &pruned); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(pruned.Kept, []string{late}) || !slices.Equal(pruned.Removed, []string{early}) || len(pruned.Segments) != 0 || pruned.Young == 0 {
				t.Errorf("prune: %+v", pruned)
			}
			if got := kojisnapOK(t, "prune", "--keep", "1", "--store", at); got != "" {
				t.Errorf("prune says %q without a terminal", got)
			}
			if _, errs, code := kojisnapRun(t, "show", early, "--store", at); code != exit.Error || !strings.Contains(errs, "no such snapshot") {
				t.Errorf("show of a pruned snapshot: %d, %q", code, errs)
			}
			for _, args := range [][]string{{"prune"}, {"prune", "--keep", "0"}, {"prune", "--keep", "-1"}, {"prune", "--keep", "1", "x"}, {"diff", late}, {"diff", late, late, late}} {
				if _, errs, code := kojisnapRun(t, append(args, "--store", at)...); code != exit.Usage || len(lines(errs)) != 1 {
					t.Errorf("%q: %d, %q", args, code, errs)
				}
			}
		})
	}
}

// TestStoreTrouble: each trouble with a bucket has its exit code and one line.
func TestStoreTrouble(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	s3test.Start(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	for _, test := range []struct {
		store string
		code  int
		want  string
	}{
		{"s3://no-such-bucket-of-kojisnap/p", exit.Error, "does not exist"},
		{"s3://bucket/p?endpoint=" + gone.URL, exit.Later, "cannot be reached"},
		{"s3://bucket/p?what=ever", exit.Usage, "no option"},
		{"s3:bucket/p", exit.Usage, "want s3://BUCKET/PREFIX"},
		{"gs://bucket/p", exit.Usage, "want a directory or s3://BUCKET/PREFIX"},
	} {
		for _, args := range [][]string{{"snapshots"}, {"diff", "latest", "latest"}, {"prune", "--keep", "1"}} {
			out, errs, code := kojisnapRun(t, append(args, "--store", test.store)...)
			if code != test.code || out != "" || !strings.Contains(errs, test.want) || len(lines(errs)) != 1 {
				t.Errorf("%q on %s: %d, %q, %q; want %d, %q", args, test.store, code, out, errs, test.code, test.want)
			}
		}
	}
}

// TestBadStore: a store that is damaged, or takes nothing, has its exit code and one line too.
func TestBadStore(t *testing.T) {
	rows := modularRows(t)
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	pull := []string{"pull", "--hub", srv.URL + "/kojihub", "--tag", "f42-compose", "--event", "419"}
	reads := [][]string{{"snapshots"}, {"show", "latest"}, {"diff", "latest", "latest"}}
	prune := []string{"prune", "--keep", "1"}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, at, manifest string)
		args  [][]string
		code  int
		want  string
	}{
		{"manifest damaged", func(t *testing.T, at, manifest string) { write(t, manifest, "{}") }, append(reads, prune), exit.Digest, ": remove it to go on without it"},
		{"manifest of a later version", func(t *testing.T, at, manifest string) {
			write(t, filepath.Join(at, "snapshots/9-0123456789ab.json"), `{"format": "kojisnap-snapshot", "version": 99}`)
		}, append(reads, prune), exit.Error, "update kojisnap"},
		{"read-only", func(t *testing.T, at, manifest string) {
			if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
		}, [][]string{pull, prune}, exit.Error, "the store takes nothing: put locks/"},
		{"full", func(t *testing.T, at, manifest string) {
			if err := unix.Mount("", at, "", unix.MS_REMOUNT, "size=200k"); err != nil {
				t.Fatal(err)
			}
		}, [][]string{pull, append(pull, "--full")}, exit.Error, "make room"},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := t.TempDir()
			if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=4m"); errors.Is(err, unix.EPERM) {
				t.Skip("needs the right to mount: CAP_SYS_ADMIN")
			} else if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			args := append(slices.Clone(pull), "--store", at)
			args[slices.Index(args, "419")] = "300"
			id := strings.TrimSpace(kojisnapOK(t, args...))
			test.spoil(t, at, filepath.Join(at, "snapshots", id+".json"))
			for _, args := range test.args {
				out, errs, code := kojisnapRun(t, append(slices.Clone(args), "--store", at)...)
				if code != test.code || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, test.want) || !strings.Contains(errs, at) {
					t.Errorf("%q: %d, %q, %q; want %d, %q", args, code, out, errs, test.code, test.want)
				}
			}
		})
	}
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

func kojisnapRun(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	if section := jsondoc.Section(args); section != "" {
		doc, err := jsondoc.Read("JSON.md")
		if err == nil {
			err = doc.Check(section, out.String(), code)
		}
		if err != nil {
			t.Errorf("%q: %v: %s", args, err, &out)
		}
	}
	return out.String(), errs.String(), code
}

func kojisnapOK(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := kojisnapRun(t, args...)
	if code != exit.Done || errs != "" {
		t.Fatalf("%q: %d, %q", args, code, errs)
	}
	return out
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}
