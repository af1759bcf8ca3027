package dbsync_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kojisnap/dbsync"
)

const overlay = `
block_users = ["autosign", "nobody-here", "stg-bot"]

[[user]]
name = "stgadmin"
principals = ["stgadmin@STG.EXAMPLE.COM", "second@STG.EXAMPLE.COM"]
permissions = ["admin", "repo"]

[[user]]
name = "newcomer"
principals = ["newcomer@STG.EXAMPLE.COM"]
permissions = ["admin"]
content_generators = ["osbs"]

[[host]]
name = "builder01.lab.example.com"
principals = ["compile/builder01@STG.EXAMPLE.COM"]
arches = ["x86_64", "i686"]
channels = ["default", "createrepo"]
capacity = 3.0

[[external_repo_url]]
from = "https://ext.example.com/"
to = "https://ext.stg.example.com/"

[[target]]
name = "f42-stg"
build_tag = "f42-build"
dest_tag = "f42-updates"

[[target]]
name = "f43"
build_tag = "f43-build"
dest_tag = "f42-updates"

[[tag_extra]]
tag = "f43"
key = "stg.note"
value = '"hello"'

[[tag_extra]]
tag = "f42-build-side-22"
key = "sidetag_user"
value = '"stgadmin"'
`

func parse(t *testing.T, text string) *dbsync.Overlay {
	t.Helper()
	file := filepath.Join(t.TempDir(), "overlay.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := dbsync.ReadOverlay(file)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// seen is what the overlay is about, by names.
func (s *staging) seen() map[string][]string {
	return map[string][]string{
		"perms":      s.dump(`SELECT u.name, p.name FROM user_perms g JOIN users u ON u.id = user_id JOIN permissions p ON p.id = perm_id WHERE active`),
		"principals": s.dump(`SELECT u.name, krb_principal FROM user_krb_principals JOIN users u ON u.id = user_id`),
		"cgs":        s.dump(`SELECT u.name, c.name FROM cg_users JOIN users u ON u.id = user_id JOIN content_generator c ON c.id = cg_id WHERE active`),
		"hosts": s.dump(`SELECT h.name, u.name, arches, capacity, enabled, (SELECT string_agg(c.name, ' ' ORDER BY c.name) FROM host_channels x JOIN channels c ON c.id = channel_id
			WHERE x.host_id = h.id AND x.active) FROM host h JOIN users u ON u.id = user_id JOIN host_config g ON g.host_id = h.id WHERE g.active`),
		"urls":    s.dump(`SELECT name, url FROM external_repo_config JOIN external_repo r ON r.id = external_repo_id WHERE active`),
		"targets": s.dump(`SELECT t.name, b.name, d.name FROM build_target_config JOIN build_target t ON t.id = build_target_id JOIN tag b ON b.id = build_tag JOIN tag d ON d.id = dest_tag WHERE active`),
		"extras":  s.dump(`SELECT name, key, value FROM tag_extra JOIN tag t ON t.id = tag_id WHERE active`),
		"blocked": s.dump(`SELECT name FROM users WHERE status = 1`),
	}
}

func TestOverlay(t *testing.T) {
	w := newWorld(t)
	s := newStaging(t, admin)
	s.exec(`INSERT INTO users (name, status, usertype) VALUES ('stg-bot', 0, 0)`)
	snap := w.snapshot(shot{})
	plain := s.load(snap, dbsync.LoadOptions{})
	before := s.seen()
	own := s.own()

	o := parse(t, overlay)
	dry := s.load(snap, dbsync.LoadOptions{Overlay: o, DryRun: true})
	same(t, before, s.seen())
	rep := s.load(snap, dbsync.LoadOptions{Overlay: o})
	foretold(t, dry, rep)
	if reflect.DeepEqual(plain.Relations, rep.Relations) {
		t.Errorf("the overlay does not show in the report: %+v", rep)
	}
	replace := func(lines []string, old, new string) []string {
		out := strings.Split(strings.Replace(strings.Join(lines, "\n"), old, new, 1), "\n")
		if new != "" && reflect.DeepEqual(out, lines) {
			t.Errorf("no %q in %q", old, lines)
		}
		return out
	}
	want := map[string][]string{
		"perms":      {"kojira\trepo", "newcomer\tadmin", "stgadmin\tadmin", "stgadmin\trepo"},
		"principals": {"builder01.lab.example.com\tcompile/builder01@STG.EXAMPLE.COM", "newcomer\tnewcomer@STG.EXAMPLE.COM", "stgadmin\tsecond@STG.EXAMPLE.COM", "stgadmin\tstgadmin@STG.EXAMPLE.COM"},
		"cgs":        {"newcomer\tosbs"},
		"hosts":      {"builder01.lab.example.com\tbuilder01.lab.example.com\tx86_64 i686\t3\tt\tcreaterepo default"},
		"urls":       replace(before["urls"], "https://ext.example.com/", "https://ext.stg.example.com/"),
		"targets":    append(replace(before["targets"], "f43\tf43-build\tf43", "f43\tf43-build\tf42-updates"), "f42-stg\tf42-build\tf42-updates"),
		"extras":     append(replace(before["extras"], "f42-build-side-22\tsidetag_user\t\"kojiadmin\"", "f42-build-side-22\tsidetag_user\t\"stgadmin\""), "f43\tstg.note\t\"hello\""),
		"blocked":    append(before["blocked"], "autosign", "stg-bot"),
	}
	same(t, want, s.seen())

	// Again, with the overlay and without one, and with the next snapshot: nothing to do.
	whole := s.whole()
	for _, opt := range []dbsync.LoadOptions{{Overlay: o}, {}, {Audit: true}, {Audit: true, Overlay: parse(t, overlay)}} {
		if again := s.load(snap, opt); again.Changed() {
			t.Errorf("again: %+v", again.Relations)
		}
	}
	after := s.whole()
	delete(whole, "kojisnap.load")
	delete(after, "kojisnap.load")
	same(t, whole, after)

	// An admin of staging disables the builder, production changes what the overlay overrules,
	// and makes what it had put there itself.
	s.exec(`INSERT INTO events (time) VALUES (now());
		UPDATE host_config SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE active;
		INSERT INTO host_config (host_id, arches, capacity, enabled, comment, creator_id) SELECT id, 'x86_64 i686', 3, false, 'broken', 990000000 FROM host`)
	u := w.find("external_repo_config", "external_repo_id", 2, "active", "t")
	e := w.revoke(u)
	w.add("external_repo_config", "external_repo_id", 2, "url", "https://ext.example.com/new/", "create_event", e, "creator_id", 1, "active", "t")
	w.add("tag_extra", "tag_id", w.find("tag", "name", "f43").get("id"), "key", "stg.note", "value", `"from production"`, "create_event", w.event(), "creator_id", 1, "active", "t")
	rep = s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if len(rep.Conflicts)+len(rep.Kept) > 0 {
		t.Errorf("conflicts %+v, kept %+v", rep.Conflicts, rep.Kept)
	}
	want["urls"] = replace(want["urls"], "https://ext.stg.example.com/epel10/$arch/os?x=1&y=2/", "https://ext.stg.example.com/new/")
	want["hosts"] = replace(want["hosts"], "3\tt\t", "3\tf\t")
	same(t, want, s.seen())

	// All of it goes, and what was before, or is production's now, is back.
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: new(dbsync.Overlay)})
	back := before
	back["urls"] = replace(back["urls"], "https://ext.example.com/epel10/$arch/os?x=1&y=2/", "https://ext.example.com/new/")
	back["extras"] = append(back["extras"], "f43\tstg.note\t\"from production\"")
	back["blocked"] = append(back["blocked"], "newcomer") // no user is ever deleted
	back["hosts"] = s.seen()["hosts"]                     // the config is the admin's by now
	same(t, back, s.seen())
	s.check(w, shot{})
	for _, table := range []string{"users", "user_perms", "user_krb_principals", "tag", "tag_config"} {
		got := s.own()[table]
		for _, line := range own[table] {
			if !strings.Contains(strings.Join(got, "\n"), line) {
				t.Errorf("%s: %q is gone", table, line)
			}
		}
	}
	if again := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: new(dbsync.Overlay), Audit: true}); again.Changed() {
		t.Errorf("again: %+v", again.Relations)
	}
	// And comes back.
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: o})
	want["extras"] = s.seen()["extras"]
	if !strings.Contains(strings.Join(want["extras"], "\n"), "stg.note\t\"hello\"") {
		t.Errorf("extras: %q", want["extras"])
	}
	same(t, want, s.seen())
}

func TestOverlayRefused(t *testing.T) {
	tests := map[string]struct {
		text string
		errs []string
	}{
		"unknown keys":    {"[[user]]\nname = \"a\"\nperms = [\"admin\"]\n[extra]\nx = 1", []string{`unknown key "user.perms"`, `unknown key "extra"`}},
		"not TOML":        {"[[user", []string{"toml"}},
		"twice":           {"[[user]]\nname = \"a\"\n[[host]]\nname = \"a\"\narches = [\"x86_64\"]\nchannels = [\"default\"]", []string{`user "a" is there twice`}},
		"incomplete":      {"[[target]]\nname = \"t\"\n[[host]]\nname = \"h\"\ncapacity = 0.5", []string{`target "t"`, `host "h": it needs arches`, "is not above 1"}},
		"not JSON":        {"[[tag_extra]]\ntag = \"t\"\nkey = \"k\"\nvalue = \"{\"", []string{`"{" is not JSON`}},
		"control":         {"block_users = [\"a\\u0007\"]", []string{`"a\a" is empty or holds control characters`}},
		"blocked granted": {"block_users = [\"a\"]\n[[user]]\nname = \"a\"", []string{"both granted something and blocked"}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := dbsync.ParseOverlay("overlay.toml", []byte(c.text))
			for _, want := range c.errs {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}

	w := newWorld(t)
	s := newStaging(t, admin)
	snap := w.snapshot(shot{})
	whole := s.whole()
	for name, c := range map[string]struct{ text, want string }{
		"permission": {"[[user]]\nname = \"a\"\npermissions = [\"nix'--\"]", `user "a": there is no permission "nix'--"`},
		"channel":    {"[[host]]\nname = \"h\"\narches = [\"x86_64\"]\nchannels = [\"nix\"]", `host "h": there is no channel "nix"`},
		"tag":        {"[[target]]\nname = \"t\"\nbuild_tag = \"nix\"\ndest_tag = \"f42\"", `target "t": there is no tag "nix"`},
		"principal":  {"[[user]]\nname = \"a\"\nprincipals = [\"stgadmin@STG.EXAMPLE.COM\"]", "is another user's"},
		"type":       {"[[host]]\nname = \"alice\"\narches = [\"x86_64\"]\nchannels = [\"default\"]", "type is 0, not 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{Overlay: parse(t, c.text)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("load: %v, want %q", err, c.want)
			}
			same(t, whole, s.whole())
		})
	}
}
