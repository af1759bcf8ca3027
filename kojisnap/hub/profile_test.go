package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProfile(t *testing.T) {
	dir := t.TempDir()
	main := write(t, dir, "koji.conf", "[koji]\n# a comment\nserver = https://koji.example.org/kojihub\ntopurl: https://kojipkgs.example.org/\n\n"+
		"[stg]\r\nserver = https://old.example.org/kojihub\r\n; another\r\nTopDir = /mnt/stg\r\n")
	write(t, dir, "conf.d/b.conf", "[stg]\nserver = https://stg.example.org/kojihub\nauthtype = kerberos\n")
	write(t, dir, "conf.d/a.conf", "[stg]\nserver = https://a.example.org/kojihub\n[empty]\nweburl = x\n")
	write(t, dir, "conf.d/c.conf.rpmsave", "[stg]\nserver = https://no.example.org/kojihub\n")
	user := write(t, dir, "config", "[DEFAULT]\nhost = user.example.org:443\n[mine]\nserver = https://%(HOST)s/100%%\n  /kojihub\n")
	files := []string{filepath.Join(dir, "missing"), main, filepath.Join(dir, "conf.d"), user}

	for _, want := range []struct{ name, server, topurl, topdir string }{
		{"koji", "https://koji.example.org/kojihub", "https://kojipkgs.example.org/", "/mnt/koji"},
		{"stg", "https://stg.example.org/kojihub", "", "/mnt/stg"},
		{"mine", "https://user.example.org:443/100%\n/kojihub", "", "/mnt/koji"},
	} {
		p, err := ReadProfile(want.name, files...)
		if err != nil || p.Server != want.server || p.TopURL != want.topurl || p.Topdir != want.topdir {
			t.Errorf("%s: %+v, %v", want.name, p, err)
		}
	}
	bad := map[string]string{ // text of the user's file: what the error must say
		"":                                `koji profile "mine": no section of that name`,
		"[mine]\n":                        "names no server",
		"[mine]\nserver = %(nope)s\n":     "%(nope)s: no such option",
		"[mine]\nserver = %(server)s\n":   "want %% or %(option)s",
		"[mine]\nserver = 5%\n":           "want %% or %(option)s",
		"server = x\n":                    "line 1: an option outside of a section",
		"[mine]\nserver\n":                "line 2: neither a section nor an option",
		"[mine\nserver = http://x/\n":     "line 1: ",
		"[mine]\n[]\n":                    "line 2: ",
		"[mine]\nx = " + long(1<<17) + "": "too long",
	}
	for text, say := range bad {
		write(t, dir, "config", text)
		if _, err := ReadProfile("mine", files...); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%.40q: got error %v, want %q", text, err, say)
		}
	}
	if _, err := ReadProfile("DEFAULT", files...); err == nil {
		t.Error("DEFAULT is a profile")
	}
}

func long(n int) string { return strings.Repeat("x", n) }
