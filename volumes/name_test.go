package volumes_test

import (
	"errors"
	"strings"
	"testing"

	"kojisnap/volumes"
)

// Names that no path may have, in every place that a hub fills.
func TestHostileNames(t *testing.T) {
	hostile := []string{
		"", ".", "..", "/", "../../etc", "a/b", "/etc/passwd", "a\x00b", "a\nb", "a\rb", "a\tb", "\x1b[31m",
		"a\u2028b", "\u0085", "bad\xffutf8", strings.Repeat("x", 256),
	}
	good := volumes.Build{Name: "n", Version: "v", Release: "r"}
	rpm := volumes.RPM{Name: "n", Version: "v", Release: "r", Arch: "x86_64"}
	path := func(f func() (string, error)) func() error {
		return func() error {
			p, err := f()
			if err == nil {
				t.Errorf("path %q", p)
			}
			return err
		}
	}
	for _, name := range hostile {
		n := func(change func(*volumes.Build)) func() error {
			b := good
			change(&b)
			return path(b.Dir)
		}
		r := func(change func(*volumes.RPM), f func(volumes.RPM) (string, error)) func() error {
			c := rpm
			change(&c)
			return path(func() (string, error) { return f(c) })
		}
		cases := map[string]func() error{
			"package name":      n(func(b *volumes.Build) { b.Name = name }),
			"build version":     n(func(b *volumes.Build) { b.Version = name }),
			"build release":     n(func(b *volumes.Build) { b.Release = name }),
			"rpm name":          r(func(r *volumes.RPM) { r.Name = name }, volumes.RPM.Path),
			"rpm version":       r(func(r *volumes.RPM) { r.Version = name }, volumes.RPM.Path),
			"rpm release":       r(func(r *volumes.RPM) { r.Release = name }, volumes.RPM.Path),
			"rpm arch":          r(func(r *volumes.RPM) { r.Arch = name }, volumes.RPM.Path),
			"sigkey":            path(func() (string, error) { return rpm.SignedPath(name) }),
			"archive file name": path(func() (string, error) { return volumes.ImagePath(name) }),
			"build type":        path(func() (string, error) { return volumes.TypePath(name, "f") }),
			"maven artifact":    path(func() (string, error) { return volumes.MavenPath("g", name, "1", "f") }),
			"maven version":     path(func() (string, error) { return volumes.MavenPath("g", "a", name, "f") }),
		}
		if name != "" { // the unsigned header; DEFAULT; directly below win
			cases["sigkey "] = path(func() (string, error) { _, err := volumes.SigPath(rpm, name); return "", err })
			if name != "a/b" {
				cases["volume name"] = n(func(b *volumes.Build) { b.Volume = name })
				cases["win relpath"] = path(func() (string, error) { return volumes.WinPath(name, "f") })
			}
		}
		if name != "a/b" && name != ".." || name == "" {
			cases["maven group"] = path(func() (string, error) { return volumes.MavenPath(name, "a", "1", "f") })
		}
		for what, f := range cases {
			err := f()
			var unsafe *volumes.UnsafeNameError
			if !errors.As(err, &unsafe) || !errors.Is(err, volumes.ErrUnsafeName) {
				t.Errorf("%s %q: error %v", what, name, err)
				continue
			}
			if unsafe.What != strings.TrimSpace(what) || unsafe.Name != name {
				t.Errorf("%s %q: names %s %q", what, name, unsafe.What, unsafe.Name)
			}
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Errorf("%s: the message is not one clean line: %q", what, err)
			}
		}
	}
}

func TestOrdinaryNamesAreFine(t *testing.T) {
	for _, name := range []string{"gtk+", "0~rc1", "1.0^20250401gitabcdef0", "1.fc42,draft_71", "Grüße", "-", "...", "a b", `q"uo'te`, "$HOME", "*"} {
		if err := volumes.CheckName("x", name); err != nil {
			t.Error(err)
		}
	}
}

func TestOverlongPath(t *testing.T) {
	long := strings.Repeat("d/", 1536) + "f"
	err := volumes.CheckPath("win relpath", long)
	if !errors.Is(err, volumes.ErrUnsafeName) || len(err.Error()) > 300 {
		t.Errorf("error %.400v", err)
	}
	if err := volumes.CheckPath("win relpath", long[2:]); err != nil {
		t.Error(err)
	}
}
