package dbsync_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/seedtest"
)

// TestOverlayAdmins: what staging's admins do with the overlay's rows afterwards.
func TestOverlayAdmins(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	snap := w.snapshot(shot{})
	o := parse(t, `[[user]]
name = "newcomer"
permissions = ["admin"]
[[user]]
name = "second"
[[host]]
name = "h1"
arches = ["x86_64"]
channels = ["default"]
[[target]]
name = "t"
build_tag = "f42-build"
dest_tag = "f42"
`)
	s.load(snap, dbsync.LoadOptions{Overlay: o})
	event := `INSERT INTO events (time) VALUES (now()); `
	s.exec(event + `UPDATE users SET status = 1 WHERE name = 'second';
		UPDATE user_perms SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE active AND user_id = (SELECT id FROM users WHERE name = 'newcomer');
		INSERT INTO host_channels (host_id, channel_id, creator_id) SELECT h.id, c.id, 990000000 FROM host h, channels c WHERE c.name = 'vm';
		UPDATE host_config SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE active;
		INSERT INTO host_config (host_id, arches, capacity, enabled, comment, creator_id) SELECT id, 'x86_64', 2, false, 'broken', 990000000 FROM host;
		UPDATE build_target_config SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE active AND build_target_id = (SELECT id FROM build_target WHERE name = 't')`)
	// Grants and targets come back, because the overlay still names them. A user who was blocked stays
	// blocked.
	rep := s.load(snap, dbsync.LoadOptions{})
	var told []string
	for _, c := range rep.Overlay {
		told = append(told, c.Action+" "+c.Entry)
	}
	if want := []string{"add target t: from f42-build to f42", "add user newcomer: permission admin"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	s.still(snap, o)
	if got := s.one("SELECT status FROM users WHERE name = 'second'"); got != "1" {
		t.Errorf("who was blocked by hand has status %s", got)
	}
	// Other arches: the admin's choice to disable the host stays.
	changed := parse(t, "[[host]]\nname = \"h1\"\narches = [\"x86_64\", \"i686\"]\nchannels = [\"default\"]\n")
	s.load(snap, dbsync.LoadOptions{Overlay: changed})
	if got := s.seen()["hosts"]; !slices.Equal(got, []string{"h1\th1\tx86_64 i686\t2\tf\tdefault vm"}) {
		t.Errorf("%q", got)
	}
	if got := s.one("SELECT comment FROM host_config WHERE active"); got != "broken" {
		t.Errorf("comment %s", got)
	}
	s.load(snap, dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
	// Without the entry the admin's config is back, and the channel that the admin added.
	if got := s.seen()["hosts"]; !slices.Equal(got, []string{"h1\th1\tx86_64\t2\tf\tvm"}) {
		t.Errorf("%q", got)
	}
}

// TestOverlayEveryone: principals follow production's users.
func TestOverlayEveryone(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t, admin)
	o := parse(t, "[everyone]\nprincipals = [\"{name}@STG\", \"{name}/admin@STG\"]\n[[user]]\nname = \"osbs\"\nprincipals = [\"osbs/osbs.stg@STG\"]\n")
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: o})
	check := func(names ...string) {
		t.Helper()
		want := []string{"osbs\tosbs/osbs.stg@STG", "stgadmin\tstgadmin@STG.EXAMPLE.COM"}
		for _, n := range names {
			want = append(want, n+"\t"+n+"@STG", n+"\t"+n+"/admin@STG")
		}
		diff(t, "principals", want, s.seen()["principals"])
	}
	check("alice", "bob", "releng", "kojiadmin", "kojira", "autosign", "žluťoučký.kůň")
	// Two swap names, one is blocked, one is new, one is no longer.
	a, b := w.find("users", "name", "alice"), w.find("users", "name", "bob")
	a["name"], b["name"] = b["name"], a["name"]
	w.find("users", "name", "releng")["status"] = str(1)
	w.find("users", "name", "eve")["status"] = str(0)
	w.add("users", "id", 60, "name", "zoe", "status", 0, "usertype", 0)
	w.find("users", "name", "autosign")["name"] = str(strings.Repeat("x", 252))
	snap := w.snapshot(shot{})
	s.load(snap, dbsync.LoadOptions{})
	s.still(snap, o)
	check("alice", "bob", "kojiadmin", "kojira", "žluťoučký.kůň", "eve", "zoe") // kojira is staging's own
	if got := s.one("SELECT id FROM users JOIN user_krb_principals ON id = user_id WHERE krb_principal = 'alice@STG'"); got != a.get("id") && got != b.get("id") || got != s.one("SELECT id FROM users WHERE name = 'alice'") {
		t.Errorf("alice@STG is user %s", got)
	}
}

// TestOverlayScope: tags, targets and repositories that an overlay overrules leave the scope,
// and the overlay changes while they are out of it.
func TestOverlayScope(t *testing.T) {
	t.Parallel()
	w, s, all := newLoadedOf(t, shot{}, admin)
	plain := s.state()
	rules := func(url, tag, value string) *overlay.Overlay {
		return parse(t, "[[external_repo_url]]\nfrom = \"http\"\nto = \""+url+"\"\n[[target]]\nname = \"f43\"\nbuild_tag = \""+tag+"\"\ndest_tag = \"f42\"\n"+
			"[[tag_extra]]\ntag = \"f42-build-side-22\"\nkey = \"sidetag_user\"\nvalue = '"+value+"'\n")
	}
	first, second := rules("ftp", "f42-build", "1"), rules("gopher", "f42", "2")
	s.load(all, dbsync.LoadOptions{Overlay: first})
	one := s.state()
	s.load(all, dbsync.LoadOptions{Overlay: second})
	two := s.state()

	small := w.snapshot(shot{tags: []int64{9}, none: []string{"external_repo_config", "build_target_config"}})
	s.load(small, dbsync.LoadOptions{})
	s.still(small, second)
	same(t, two, s.state())
	s.load(small, dbsync.LoadOptions{Overlay: first})
	if seedtest.Long() {
		s.still(small, first)
	}
	same(t, one, s.state())
	s.load(small, dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
	same(t, plain, s.state())
	if n := s.one("SELECT count(*) FROM kojisnap.overruled"); n != "0" {
		t.Errorf("%s rows are on record as overruled", n)
	}
	s.load(all, dbsync.LoadOptions{})
	same(t, plain, s.state())

	// Production takes its rows away while they are overruled, and gives them back.
	s.load(all, dbsync.LoadOptions{Overlay: second})
	e := w.revoke(w.find("tag_extra", "tag_id", 22, "key", "sidetag_user", "active", "t"))
	u := w.find("external_repo_config", "external_repo_id", 2, "active", "t")
	w.revoke(u)
	w.add("external_repo_config", "external_repo_id", 2, "url", "https://new.example.com/", "create_event", e, "creator_id", 1, "active", "t")
	snap := w.snapshot(shot{})
	s.load(snap, dbsync.LoadOptions{})
	s.still(snap, second)
	if got := s.one("SELECT value FROM tag_extra WHERE tag_id = 22 AND key = 'sidetag_user' AND active"); got != "2" {
		t.Errorf("extra: %s", got)
	}
	if got := s.one("SELECT url FROM external_repo_config WHERE external_repo_id = 2 AND active"); got != "gophers://new.example.com/" {
		t.Errorf("url: %s", got)
	}
	s.load(snap, dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
	s.check(w, shot{})
	if got := s.one("SELECT count(*) FROM tag_extra WHERE tag_id = 22 AND key = 'sidetag_user' AND active"); got != "0" {
		t.Errorf("%s extras that production does not have", got)
	}
}

// TestOverlayUpgrade: what the first kojisnap recorded of an overlay goes as well.
func TestOverlayUpgrade(t *testing.T) {
	t.Parallel()
	_, s, snap := newLoadedOf(t, shot{}, admin)
	s.exec("INSERT INTO users (name, status, usertype) VALUES ('tester', 0, 0)")
	plain := s.state()
	o := parse(t, "block_users = [\"tester\"]\n[[user]]\nname = \"newcomer\"\nprincipals = [\"n@STG\"]\npermissions = [\"admin\"]\n")
	s.load(snap, dbsync.LoadOptions{Overlay: o})
	with := s.state()
	s.toFormat1()
	s.exec("UPDATE kojisnap.overlay SET relation = 'users' WHERE relation = 'block_users'")
	s.load(snap, dbsync.LoadOptions{Overlay: o})
	same(t, with, s.state())
	s.load(snap, dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
	same(t, plain, s.state())
}
