package topdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseOwner(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Owner
		err  string
	}{
		{"root", Owner{0, 0}, ""},
		{"root:root", Owner{0, 0}, ""},
		{"root:12345", Owner{0, 12345}, ""},
		{"54321:12345", Owner{54321, 12345}, ""},
		{"0", Owner{0, 0}, ""},
		{"54321", Owner{}, "give the group too"},
		{"no such user", Owner{}, "has no user"},
		{"root:no such group", Owner{}, "has no group"},
		{"", Owner{}, "owner"},
		{":root", Owner{}, "owner"},
		{"root:", Owner{}, "owner"},
		{"-1:-1", Owner{}, "owner"},
		{"4294967295:0", Owner{}, "owner"}, // chown(2) takes it for "leave"
	} {
		got, err := ParseOwner(c.in)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v, %v; want %v, %q", c.in, got, err, c.want, c.err)
		}
	}
	if me := (Owner{os.Geteuid(), os.Getegid()}); !me.CanGive() {
		t.Errorf("cannot give to %v", me)
	}
}

func TestParseMode(t *testing.T) {
	for in, want := range map[string]fs.FileMode{"644": 0o644, "0664": 0o664, "600": 0o600, "0755": 0, "444": 0, "2644": 0, "": 0, "u=rw": 0, "-1": 0, "0o644": 0} {
		if got, err := ParseMode(in); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestParseContext(t *testing.T) {
	const full = "system_u:object_r:httpd_sys_rw_content_t:s0"
	for in, want := range map[string]string{
		"httpd_sys_rw_content_t": full, full: full, "a:b:c": "a:b:c", "a:b:c:s0-s15:c0.c1023": "a:b:c:s0-s15:c0.c1023",
		"": "", "a:b": "", "a b": "", "a:b:c:": "", "a:b:c:s0\n": "", "a\x00": "",
	} {
		if got, err := ParseContext(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// Labels are set on everything that is made. Root may set the attribute without SELinux, too, unless another
// security module forbids it.
func TestLabels(t *testing.T) {
	const want = "system_u:object_r:httpd_sys_rw_content_t:s0"
	top := openTop(t)
	if err := unix.Setxattr(top.Path(), labelXattr, []byte("x"), 0); err != nil {
		t.Skipf("needs the right to set %s: %v", labelXattr, err)
	}
	top.SetAttributes(Attributes{Context: want})
	if enabled := selinuxEnabled(); (top.attr.Context != "") != enabled {
		t.Errorf("context %q, SELinux enabled: %v", top.attr.Context, enabled)
	}
	top.attr.Context, top.plainDirs = want, false
	if err := EnsureCopyVolume(top, "staged"); err != nil {
		t.Fatal(err)
	}
	if err := top.UseTemp("vol/staged/.tmp"); err != nil {
		t.Fatal(err)
	}
	if err := top.Mkdir("packages/n/v"); err != nil {
		t.Fatal(err)
	}
	dir, err := top.OpenDir("packages/n/v")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f, err := dir.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if fits, err := top.Fits(f); !fits || err != nil {
		t.Errorf("what it made does not fit: %v", err)
	}
	for _, rel := range []string{"vol/staged", "vol/staged/packages", "vol/staged/toplink", "packages", "packages/n/v", "packages/n/v/file"} {
		buf := make([]byte, 100)
		n, err := unix.Lgetxattr(top.Join(rel), labelXattr, buf)
		if got := strings.TrimRight(string(buf[:max(n, 0)]), "\x00"); got != want {
			t.Errorf("%s: label %q, %v", rel, got, err)
		}
	}
	other, err := os.Create(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if fits, err := top.Fits(other); fits || err != nil {
		t.Errorf("a file without the label fits: %v", err)
	}
	if top.Unlabelled() {
		t.Error("Unlabelled")
	}
	if err := top.labelled("x", unix.EOPNOTSUPP); err != nil || !top.Unlabelled() {
		t.Errorf("a file system without labels: %v", err)
	}
}

// A directory appears with its attributes, or not at all.
func TestDirectoriesHaveTheirOwnerFromTheBeginning(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives files to another user")
	}
	top := openTop(t)
	top.SetAttributes(Attributes{Owner: &Owner{48, 49}})
	if err := top.UseTemp(".tmp"); err != nil {
		t.Fatal(err)
	}
	crash := errors.New("crash")
	for n := 0; ; n++ {
		left := n
		top.Hook = func(string, string) error {
			if left--; left < 0 {
				return crash
			}
			return nil
		}
		err := top.Mkdir("packages/n/v")
		top.Hook = nil
		for _, dir := range []string{"packages", "packages/n", "packages/n/v"} {
			st, lerr := top.Lstat(dir)
			if lerr == nil && (st.Uid != 48 || st.Gid != 49 || st.Mode&0o7777 != 0o755) {
				t.Errorf("crash after %d: %s is %d:%d, mode %o", n, dir, st.Uid, st.Gid, st.Mode)
			}
		}
		if err == nil {
			if n < 5 {
				t.Errorf("only %d operations", n)
			}
			break
		}
		if !errors.Is(err, crash) {
			t.Fatal(err)
		}
		if err := top.RemoveAll("packages"); err != nil {
			t.Fatal(err)
		}
	}
}

// A toplink that leads elsewhere is an error: it breaks the promotion of drafts.
func TestToplinkThatLeadsElsewhere(t *testing.T) {
	for name, target := range map[string]string{"nowhere": "../../absent", "elsewhere": ".."} {
		top := openTop(t)
		if err := top.Mkdir("vol/staged"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, top.Join("vol/staged/toplink")); err != nil {
			t.Fatal(err)
		}
		if err := EnsureCopyVolume(top, "staged"); err == nil || !strings.Contains(err.Error(), "does not lead to topdir") {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := top.Readlink("vol/staged/toplink"); got != target {
			t.Errorf("%s: was changed to %q", name, got)
		}
	}
}
