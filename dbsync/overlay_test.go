package dbsync_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/seedtest"
)

const exampleOverlay = `
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

func parse(t *testing.T, text string) *overlay.Overlay {
	t.Helper()
	file := filepath.Join(t.TempDir(), "overlay.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := overlay.Read(file)
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
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	s.exec(`INSERT INTO users (name, status, usertype) VALUES ('stg-bot', 0, 0)`)
	snap := w.snapshot(shot{})
	plain := s.load(snap, dbsync.LoadOptions{})
	before := s.seen()
	own := s.own()

	o := parse(t, exampleOverlay)
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
	for _, opt := range seedtest.Some([]dbsync.LoadOptions{{Overlay: o}, {}, {Audit: true}, {Audit: true, Overlay: parse(t, exampleOverlay)}}, 3) {
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
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
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
	if again := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: new(overlay.Overlay), Audit: true}); again.Changed() {
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

// TestOverlayRefused: what is wrong with a file by itself is told with its lines, all at once.
func TestOverlayRefused(t *testing.T) {
	t.Parallel()
	host := "[[host]]\nname = \"h\"\narches = [\"x86_64\"]\nchannels = [\"default\"]\n"
	long := strings.Repeat("ž", 300)
	tests := map[string]struct {
		text string
		errs []string
	}{
		"unknown keys":      {"[[user]]\nname = \"a\"\nperms = [\"admin\"]\n[extra]\nx = 1\ny = 2\n[[user]]\nname = \"b\"\nfoo.bar = 1", []string{`3: unknown key "user.perms"`, `4: unknown key "extra"`, `9: unknown key "user.foo.bar"`}},
		"not TOML":          {"# a\n\n[[user", []string{`3: expected '.' or ']' to end table name`}},
		"not TOML, in text": {"[[user]]\nname = \"a\"\n\nname = \"b\"\n", []string{`4: "user.name": Key 'user.name' has already been defined`}},
		"types": {"block_users = [1]\n[[host]]\nname = 3\ncapacity = \"2\"\n[[host]]\nname = \"a\"\narches = \"x86_64\"\n[[user.x]]\nname = \"b\"", []string{
			`1: "block_users": want a text in quotes, not a whole number`,
			`3: "host.name": want a text in quotes, not a whole number`,
			`4: "host.capacity": want a number, not a text in quotes`,
			`7: "host.arches": want a list, not a text in quotes`,
			`8: "user": want a list, not a table`}},
		"twice": {"[[user]]\nnames = [\"a\", \"c\"]\n" + host + host + "[[user]]\nname = \"c\"\npermissions = [\"admin\", \"admin\"]", []string{
			`8: user "h" is there twice; first at overlay.toml:4`, `12: user "c" is there twice; first at overlay.toml:2`, `13: permission "admin" is there twice`}},
		"principal twice": {"[[user]]\nname = \"a\"\nprincipals = [\"p@A\"]\n[[user]]\nnames = [\"b\", \"c\"]\nprincipals = [\"p@A\", \"{nom}@A\", \"{name}@A\"]\n[[user]]\nname = \"d\"\nprincipals = [\"c@A\", \"{name}{\"]", []string{
			`6: principal "p@A" is for 2 users and has no {name}`, `6: principal "{nom}@A": all that can stand in braces is {name}`,
			`9: principal "c@A" is there twice; first at overlay.toml:6`, `9: principal "{name}{": all that can stand in braces is {name}`}},
		"group":           {"[[user]]\nname = \"a\"\ngroups = [\"b\", \"c\"]\n[[user]]\nname = \"b\"", []string{`3: group "b" is a user or a host too, at overlay.toml:5`}},
		"everyone":        {"[everyone]\n\nprincipals = [\"a@B\"]", []string{`3: principal "a@B" is for everyone and has no {name}`}},
		"incomplete":      {"[[target]]\nname = \"t\"\n[[host]]\nname = \"h\"\ncapacity = 0.5\n[[user]]\n[[channel]]", []string{"1: its build_tag is empty", "1: its dest_tag is empty", `3: host "h": it needs arches and channels`, `5: host "h": its capacity 0.5 is not a number above 1`, "6: user: it has no name", "7: its channel is empty"}},
		"capacity":        {host + "capacity = inf\n", []string{`5: host "h": its capacity +Inf is not a number above 1`}},
		"arch":            {"[[host]]\nname = \"h\"\narches = [\"x86_64 i686\"]\nchannels = [\"default\"]\n", []string{`3: "x86_64 i686": one arch each`}},
		"not JSON":        {"[[tag_extra]]\ntag = \"t\"\nkey = \"k\"\nvalue = \"{\"", []string{`4: tag_extra "t" "k": its value "{" is not JSON`}},
		"control":         {"[[user]]\nname = \"a\"\n[[user]]\nname = \"b\\u0007\"", []string{`4: user "b\a" holds control characters`}},
		"control in file": {"[[user]]\nname = \"a\u0007\"", []string{"2: "}},
		"long":            {"[[user]]\nname = \"" + long + "\"", []string{`2: user "` + long[:80] + `"… is longer than 255 characters`}},
		"blocked granted": {"block_users = [\"a\", \"b\", \"b\"]\n[[user]]\nname = \"a\"", []string{`1: user "a" is blocked and has an entry at overlay.toml:3`, `1: blocked user "b" is there twice; first at overlay.toml:1`}},
		"url":             {"[[external_repo_url]]\nfrom = \"http://a/\"\nto = \"http://b/\"\n[[external_repo_url]]\nfrom = \"http://a/b/\"\nto = \"\"", []string{`5: external_repo_url "http://a/b/": the one of overlay.toml:2 fits first`, "6: its to is empty"}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := overlay.Parse("overlay.toml", []byte(c.text))
			var bad *overlay.Error
			if !errors.As(err, &bad) || !bad.Malformed || len(bad.Faults) != len(c.errs) {
				t.Fatalf("%v, want %d faults", err, len(c.errs))
			}
			for i, want := range c.errs {
				if got := bad.Faults[i].Error(); !strings.HasPrefix(got, "overlay.toml:"+want) {
					t.Errorf("%q, want %q", got, want)
				}
			}
		})
	}
	if _, err := overlay.Read(filepath.Join(t.TempDir(), "none.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestOverlayLines: lines are right whatever stands between.
func TestOverlayLines(t *testing.T) {
	t.Parallel()
	text := strings.Join([]string{"\ufeff# [[user]]\r",
		`block_users = [ # [[user]]`, `  "a", # """`, `  "]",`, `]`, ``,
		`  [[user]] # one`, // 7
		"\tname = '''", `[[user]]`, `b'''`,
		`"permissions" = [`, `  "[[host]]",`, ``, `  'x"',`, `] # ]`, // 11
		`[[tag_extra]]`, `tag="t"`, `key = """\`, `   k"""`, `value = '''[`, `[[user]]`, `'''`, // 16
		`[ everyone ]`, ` principals=[]`, `[["user"]]`, `names = ["c",`, `""]`, // 23
	}, "\n")
	_, err := overlay.Parse("o", []byte(text))
	want := "o:8: user \"[[user]]\\nb\" holds control characters\no:20: tag_extra \"t\" \"k\": its value \"[\\n[[user]]\\n\" is not JSON\no:26: its user is empty"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	inline := "user = [\n {name=\"a\"},\n {name=\"a\"}]\n"
	if _, err := overlay.Parse("o", []byte(inline)); err == nil || err.Error() != `o:1: user "a" is there twice; first at o:1` {
		t.Errorf("inline: %v", err)
	}
}

// TestOverlayUnknown: what an overlay names must be in staging, in the snapshot or in the overlay.
func TestOverlayUnknown(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	s.exec(`INSERT INTO users (name, status, usertype) VALUES ('team', 0, 2)`)
	snap := w.snapshot(shot{})
	whole := s.whole()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"names": {`[[user]]
name = "a"
permissions = ["admin", "nix'--"]
content_generators = ["osbs", "nix"]

[[host]]
names = ["h", "i"]
arches = ["x86_64"]
channels = ["default", "nix", "nox"]

[[target]]
name = "t"
build_tag = "nix"
dest_tag = "f42"

[[tag_extra]]
tag = "nox"
key = "k"
value = "1"
`, []string{`3: user "a": there is no permission "nix'--"`, `4: user "a": there is no content generator "nix"`, `9: host "h" and 1 more: there is no channel "nix"`,
			`9: host "h" and 1 more: there is no channel "nox"`, `13: target "t": there is no tag "nix"`, `17: tag_extra "k": there is no tag "nox"`}},
		"principal": {"[[user]]\nname = \"a\"\nprincipals = [\"stgadmin@STG.EXAMPLE.COM\"]", []string{`3: user a: principal stgadmin@STG.EXAMPLE.COM: it is user "stgadmin"'s in staging already`}},
		"types": {"[[host]]\nnames = [\"h\", \"alice\"]\narches = [\"x86_64\"]\nchannels = [\"default\"]\n[[user]]\nname = \"builder01.lab.example.com\"\ngroups = [\"bob\"]\n[[user]]\nname = \"team\"",
			[]string{`2: host "alice": there is a user of that name whose type is user`, `7: group "bob": there is a user of that name whose type is user`,
				`6: user "builder01.lab.example.com": there is a user of that name whose type is host`, `9: user "team": there is a user of that name whose type is group`}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := overlay.Parse("overlay.toml", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			_, err = dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{Overlay: o})
			var bad *overlay.Error
			if !errors.As(err, &bad) || bad.Malformed {
				t.Fatalf("%v", err)
			}
			var got []string
			for _, f := range bad.Faults {
				got = append(got, strings.TrimPrefix(f.Error(), "overlay.toml:"))
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("faults\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			same(t, whole, s.whole())
		})
	}
	// The names of production are known before its rows are there, and those that the overlay makes.
	good := "[[channel]]\nname = \"new\"\n[[permission]]\nname = \"newperm\"\n[[content_generator]]\nname = \"newcg\"\n" +
		"[[host]]\nname = \"h\"\narches = [\"x86_64\"]\nchannels = [\"new\", \"heavy\"]\n" +
		"[[user]]\nname = \"alice\"\npermissions = [\"newperm\", \"compose-lock\"]\ncontent_generators = [\"newcg\", \"mbs\"]\n" +
		"[[target]]\nname = \"t\"\nbuild_tag = \"f43-build\"\ndest_tag = \"f42\"\n"
	s.load(snap, dbsync.LoadOptions{Overlay: parse(t, good)})
	if got := s.seen(); !slices.Contains(got["perms"], "alice\tnewperm") || !slices.Contains(got["cgs"], "alice\tmbs") || !slices.Contains(got["targets"], "t\tf43-build\tf42") {
		t.Errorf("%v", got)
	}
}
