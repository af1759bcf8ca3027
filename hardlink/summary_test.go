package hardlink_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kojisnap/hardlink"
)

// The summary counts each planned file once for each tag and arch, and the JSON of the actions has each file
// to make.
func TestSummary(t *testing.T) {
	s := newSite(t, "bash", "win-tool", "my-operator", "postgresql-stream")
	s.want.SigKeys = []string{"41526f0e"}
	for i := range s.input.Builds {
		b := &s.input.Builds[i]
		b.Tags = []string{"f42"}
		if b.Name == "bash" {
			b.Tags = []string{"f42", "f42-updates"}
		}
	}
	for _, p := range []string{bashSigned, bashSig} { // neither present nor to be made
		if err := os.Remove(filepath.Join(s.prod, bashDir, p)); err != nil {
			t.Fatal(err)
		}
	}
	plan := s.plan(t)
	planned := map[[2]string]int{}
	all := 0
	for _, b := range plan.Staged {
		for _, f := range b.Files {
			all++
			for _, tag := range b.Tags {
				planned[[2]string{tag, f.Arch()}]++
			}
		}
	}
	check := func(sum hardlink.Summary) {
		t.Helper()
		have := map[[2]string]int{}
		for _, row := range append(sum.Tags, hardlink.TagArch{Sums: sum.Total}) {
			parts := row.Present.Files + row.Absent.Files + row.Missing.Files + row.LeftOut.Files
			for _, m := range row.Make {
				parts += m.Files
			}
			if parts != row.Files.Files {
				t.Errorf("%s %s: %d files in parts, %d in all", row.Tag, row.Arch, parts, row.Files.Files)
			}
			if row.Tag != "" {
				have[[2]string{row.Tag, row.Arch}] = row.Files.Files
			}
		}
		if sum.Total.Files.Files != all || !reflect.DeepEqual(have, planned) {
			t.Errorf("%d files, %v, want %d, %v", sum.Total.Files.Files, have, all, planned)
		}
	}
	a := s.diff(t)
	first := a.Summary(plan)
	check(first)
	if first.Total.Present.Files != 0 || first.Total.Missing.Files != 1 || first.Total.LeftOut.Files == 0 || first.Total.Make[hardlink.OpLink].Bytes == 0 {
		t.Errorf("first: %v", first.Total)
	}
	var made struct {
		Builds []struct {
			Source, Dir string
			Files       []struct {
				Op, Path string
				Bytes    int64
				File     *struct{ Digest string }
			}
		}
	}
	b, err := json.Marshal(a)
	if err == nil {
		err = json.Unmarshal(b, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range made.Builds {
		for _, f := range b.Files {
			info, err := os.Stat(filepath.Join(s.prod, b.Source, f.Path))
			if f.Op == "symlink" {
				continue
			}
			if n++; err != nil || info.Size() != f.Bytes || !strings.Contains(f.File.Digest, ":") {
				t.Errorf("%+v: %v", f, err)
			}
		}
	}
	if n != first.Total.Make[hardlink.OpLink].Files || n == 0 {
		t.Errorf("%d files in JSON, %v", n, first.Total)
	}
	s.copy(t)
	a = s.diff(t)
	second := a.Summary(plan)
	check(second)
	if second.Total.Present != first.Total.Make[hardlink.OpLink] || len(second.Total.Make) != 0 {
		t.Errorf("second: %v", second.Total)
	}
	var text strings.Builder
	if n, err := second.WriteTo(&text); err != nil || n != int64(text.Len()) || !strings.Contains(text.String(), "tag f42-updates x86_64: ") ||
		!strings.Contains(text.String(), "tag f42 archives: ") || !strings.HasPrefix(text.String()[strings.Index(text.String(), "all: "):], "all: ") {
		t.Errorf("%d bytes, %v:\n%s", n, err, text.String())
	}
}
