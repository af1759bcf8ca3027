package dbsync_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// state gives what Koji's tables say now: the active rows of those that are versioned, all of the
// others, less what tells that something was changed. Names that overlays made and none has now
// mean nothing and are left out.
func (s *staging) state() map[string][]string {
	s.t.Helper()
	out := map[string][]string{}
	all := map[string][]string{}
	for _, line := range s.dump(`SELECT relname, attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
		AND relname NOT IN ('events', 'tag_updates') AND attnum > 0 AND NOT attisdropped`) {
		table, column, _ := strings.Cut(line, "\t")
		all[table] = append(all[table], column)
	}
	for table, names := range all {
		var columns []string
		versioned := false
		for _, c := range names {
			switch {
			case c == "active":
				versioned = true
			case c == "create_event":
				c = fmt.Sprintf("CASE WHEN create_event < %d THEN create_event END", book.DefaultFloor)
			}
			columns = append(columns, c)
		}
		where := "true"
		switch {
		case versioned:
			where = "active"
		case table == "host":
			where = "EXISTS (SELECT FROM host_config c WHERE c.host_id = t.id AND c.active)"
		case table == "build_target":
			where = "EXISTS (SELECT FROM build_target_config c WHERE c.build_target_id = t.id AND c.active)"
		case table == "users" || table == "channels" || table == "permissions" || table == "content_generator":
			where = fmt.Sprintf(`NOT EXISTS (SELECT FROM kojisnap.overlay_made m WHERE m.relation = '%s' AND m.id = t.id
				AND NOT EXISTS (SELECT FROM kojisnap.overlay o WHERE o.relation = m.relation AND o.key = jsonb_build_object('id', m.id)))`, table)
		}
		out[table] = s.dump("SELECT " + strings.Join(columns, ", ") + ` FROM "` + table + `" t WHERE ` + where)
	}
	return out
}

// still looks at every row once more and expects that nothing changes, not even an event.
func (s *staging) still(snap *snapfile.Snapshot, o *overlay.Overlay) {
	s.t.Helper()
	whole := s.whole()
	if rep := s.only(snap, dbsync.LoadOptions{Overlay: o, Audit: true}); rep.Changed() || len(rep.Overlay) > 0 {
		s.t.Errorf("again: %+v %+v", rep.Relations, rep.Overlay)
	}
	after := s.whole()
	for _, m := range []map[string][]string{whole, after} {
		delete(m, "kojisnap.load")
	}
	same(s.t, whole, after)
}

// only loads without the audit after it.
func (s *staging) only(snap *snapfile.Snapshot, opt dbsync.LoadOptions) *book.LoadReport {
	s.t.Helper()
	rep, err := dbsync.Load(s.t.Context(), s.conn, snap, opt)
	if err != nil {
		s.t.Fatal(err)
	}
	return rep
}

const realm = "principals = [\"{name}@STG.EXAMPLE.COM\"]\n"

// overlayKind is a kind of entry, as it is first, and changed. by is what staging's admins did before.
type overlayKind struct {
	name          string
	by            string
	first, second string
	tell          []string // what the first says that it does
	tellSecond    []string
	tables        []string // that the first changes
}

// overlayKinds are about different users, channels and so on, but for everyone's.
var overlayKinds = []overlayKind{
	{name: "a new user",
		first: "[[user]]\nname = \"newcomer\"\n" + realm, second: "[[user]]\nname = \"newcomer\"\nprincipals = [\"n@STG\"]\n",
		tell:       []string{"add user newcomer", "add user newcomer: principal newcomer@STG.EXAMPLE.COM"},
		tellSecond: []string{"add user newcomer: principal n@STG", "remove user newcomer: principal newcomer@STG.EXAMPLE.COM"},
		tables:     []string{"user_krb_principals", "users"}},
	{name: "users of production's and of nobody's",
		first: "[[user]]\nnames = [\"alice\", \"zoe\"]\n" + realm + "permissions = [\"admin\", \"repo\"]\n", second: "[[user]]\nname = \"alice\"\npermissions = [\"repo\", \"tag\"]\n",
		tell: []string{"add user alice: permission admin", "add user alice: permission repo", "add user alice: principal alice@STG.EXAMPLE.COM", "add user zoe",
			"add user zoe: permission admin", "add user zoe: permission repo", "add user zoe: principal zoe@STG.EXAMPLE.COM"},
		tellSecond: []string{"remove user alice: permission admin", "add user alice: permission tag", "remove user alice: principal alice@STG.EXAMPLE.COM",
			"remove user zoe", "remove user zoe: permission admin", "remove user zoe: permission repo", "remove user zoe: principal zoe@STG.EXAMPLE.COM"},
		tables: []string{"user_krb_principals", "user_perms", "users"}},
	{name: "what an admin gave before stays",
		by: `INSERT INTO user_perms (user_id, perm_id, creator_id) SELECT u.id, p.id, 990000000 FROM users u, permissions p WHERE u.name = 'bob' AND p.name = 'admin';
			INSERT INTO user_krb_principals SELECT id, 'bob@STG.EXAMPLE.COM' FROM users WHERE name = 'bob'`,
		first: "[[user]]\nname = \"bob\"\n" + realm + "permissions = [\"admin\", \"repo\"]\n", second: "[[user]]\nname = \"bob\"\npermissions = [\"admin\", \"tag\"]\n",
		tell: []string{"add user bob: permission repo"}, tellSecond: []string{"remove user bob: permission repo", "add user bob: permission tag"}, tables: []string{"user_perms"}},
	{name: "groups",
		first: "[[user]]\nname = \"osbs\"\ngroups = [\"provenpackagers\", \"newgroup\"]\n", second: "[[user]]\nname = \"žluťoučký.kůň\"\ngroups = [\"newgroup\"]\n",
		tell:       []string{"add group newgroup", "add user osbs: group newgroup", "add user osbs: group provenpackagers"},
		tellSecond: []string{"remove user osbs: group newgroup", "remove user osbs: group provenpackagers", "add user žluťoučký.kůň: group newgroup"},
		tables:     []string{"user_groups", "users"}},
	{name: "content generators",
		first: "[[content_generator]]\nname = \"newcg\"\n[[user]]\nname = \"autosign\"\ncontent_generators = [\"newcg\", \"osbs\"]\n", second: "[[user]]\nname = \"autosign\"\ncontent_generators = [\"mbs\"]\n",
		tell:       []string{"add content generator newcg", "add user autosign: content generator newcg", "add user autosign: content generator osbs"},
		tellSecond: []string{"add user autosign: content generator mbs", "remove user autosign: content generator newcg", "remove user autosign: content generator osbs"},
		tables:     []string{"cg_users", "content_generator"}},
	{name: "permissions",
		first: "[[permission]]\nname = \"newperm\"\ndescription = \"d\"\n[[user]]\nname = \"žluťoučký.kůň\"\npermissions = [\"newperm\"]\n", second: "[[permission]]\nname = \"newperm\"\n[[permission]]\nname = \"admin\"\n[[user]]\nname = \"osbs\"\npermissions = [\"newperm\"]\n",
		tell: []string{"add permission newperm", "add user žluťoučký.kůň: permission newperm"}, tellSecond: []string{"remove user žluťoučký.kůň: permission newperm", "add user osbs: permission newperm"}, tables: []string{"permissions", "user_perms"}},
	{name: "channels",
		first: "[[channel]]\nname = \"newchannel\"\ndescription = \"d\"\n[[channel]]\nname = \"default\"\n", second: "[[channel]]\nname = \"other\"\n",
		tell: []string{"add channel newchannel"}, tellSecond: []string{"remove channel newchannel", "add channel other"}, tables: []string{"channels"}},
	{name: "hosts",
		first: "[[channel]]\nname = \"hostchannel\"\n[[host]]\nnames = [\"h1\", \"h2\"]\nprincipals = [\"compile/{name}@STG\"]\narches = [\"x86_64\", \"i686\"]\nchannels = [\"default\", \"hostchannel\"]\ncapacity = 3.5\n",
		second: "[[host]]\nname = \"h1\"\narches = [\"x86_64\"]\nchannels = [\"default\", \"heavy\"]\ndescription = \"d\"\n" +
			"[[host]]\nname = \"h3\"\narches = [\"x86_64\"]\nchannels = [\"default\"]\n",
		tell: []string{"add channel hostchannel", "add host h1", "add host h1: arches x86_64 i686, capacity 3.5", "add host h1: channel default", "add host h1: channel hostchannel", "add host h1: principal compile/h1@STG",
			"add host h2", "add host h2: arches x86_64 i686, capacity 3.5", "add host h2: channel default", "add host h2: channel hostchannel", "add host h2: principal compile/h2@STG"},
		tellSecond: []string{"remove channel hostchannel", "remove host h1: arches x86_64 i686, capacity 3.5", "add host h1: arches x86_64, capacity 2, d", "add host h1: channel heavy", "remove host h1: channel hostchannel",
			"remove host h1: principal compile/h1@STG", "remove host h2", "remove host h2: arches x86_64 i686, capacity 3.5", "remove host h2: channel default", "remove host h2: channel hostchannel", "remove host h2: principal compile/h2@STG",
			"add host h3", "add host h3: arches x86_64, capacity 2", "add host h3: channel default"},
		tables: []string{"channels", "host", "host_channels", "host_config", "user_krb_principals", "users"}},
	{name: "a host that an admin made",
		by: `INSERT INTO users (name, status, usertype) VALUES ('byhand', 0, 1); INSERT INTO host (user_id, name) SELECT id, name FROM users WHERE name = 'byhand';
			INSERT INTO host_config (host_id, arches, capacity, enabled, comment, creator_id) SELECT id, 'x86_64', 4, false, 'mine', 990000000 FROM host WHERE name = 'byhand';
			INSERT INTO host_channels (host_id, channel_id, creator_id) SELECT h.id, c.id, 990000000 FROM host h, channels c WHERE h.name = 'byhand' AND c.name IN ('default', 'vm')`,
		first: "[[host]]\nname = \"byhand\"\narches = [\"x86_64\", \"i686\"]\nchannels = [\"default\", \"heavy\"]\n", second: "[[host]]\nname = \"byhand\"\narches = [\"ppc64le\"]\nchannels = [\"default\", \"heavy\"]\n",
		tell: []string{"add host byhand: arches x86_64 i686, capacity 2", "add host byhand: channel heavy"}, tellSecond: []string{"add host byhand: arches ppc64le, capacity 2", "remove host byhand: arches x86_64 i686, capacity 2"},
		tables: []string{"host_channels", "host_config"}},
	{name: "URLs",
		first: "[[external_repo_url]]\nfrom = \"https://ext.example.com/epel10/\"\nto = \"https://stg.example.com/\"\n[[external_repo_url]]\nfrom = \"http\"\nto = \"ftp\"\n", second: "[[external_repo_url]]\nfrom = \"https://\"\nto = \"http://\"\n",
		tell:       []string{"add external repo URLs: http becomes ftp", "add external repo URLs: https://ext.example.com/epel10/ becomes https://stg.example.com/"},
		tellSecond: []string{"remove external repo URLs: http becomes ftp", "add external repo URLs: https:// becomes http://", "remove external repo URLs: https://ext.example.com/epel10/ becomes https://stg.example.com/"},
		tables:     []string{"external_repo_config"}},
	{name: "a target of its own",
		first: "[[target]]\nname = \"own\"\nbuild_tag = \"f42-build\"\ndest_tag = \"f42\"\n", second: "[[target]]\nname = \"own\"\nbuild_tag = \"f43-build\"\ndest_tag = \"f42\"\n",
		tell: []string{"add target own: from f42-build to f42"}, tellSecond: []string{"remove target own: from f42-build to f42", "add target own: from f43-build to f42"}, tables: []string{"build_target", "build_target_config"}},
	{name: "a target of production's",
		first: "[[target]]\nname = \"f43\"\nbuild_tag = \"f42-build\"\ndest_tag = \"f42\"\n", second: "[[target]]\nname = \"f43\"\nbuild_tag = \"f43-build\"\ndest_tag = \"f42\"\n",
		tell: []string{"add target f43: from f42-build to f42"}, tellSecond: []string{"remove target f43: from f42-build to f42", "add target f43: from f43-build to f42"}, tables: []string{"build_target_config"}},
	{name: "a target of an admin's",
		by: `INSERT INTO build_target (name) VALUES ('byhand');
			INSERT INTO build_target_config (build_target_id, build_tag, dest_tag, creator_id) SELECT b.id, t.id, t.id, 990000000 FROM build_target b, tag t WHERE b.name = 'byhand' AND t.name = 'f42'`,
		first: "[[target]]\nname = \"byhand\"\nbuild_tag = \"f42-build\"\ndest_tag = \"f42\"\n", second: "[[target]]\nname = \"byhand\"\nbuild_tag = \"f43-build\"\ndest_tag = \"f42\"\n",
		tell: []string{"add target byhand: from f42-build to f42"}, tellSecond: []string{"remove target byhand: from f42-build to f42", "add target byhand: from f43-build to f42"}, tables: []string{"build_target_config"}},
	{name: "extras of its own and of production's",
		first: "[[tag_extra]]\ntag = \"f42-build-side-22\"\nkey = \"sidetag_user\"\nvalue = '\"x\"'\n[[tag_extra]]\ntag = \"f43\"\nkey = \"a'\\\\\"\nvalue = '{\"ž\": \"\\\"\"}'\n", second: "[[tag_extra]]\ntag = \"f42-build-side-22\"\nkey = \"sidetag_user\"\nvalue = '2'\n",
		tell: []string{"add tag f42-build-side-22: extra sidetag_user = \"x\"", "add tag f43: extra a'\\ = {\"ž\": \"\\\"\"}"}, tellSecond: []string{"remove tag f42-build-side-22: extra sidetag_user = \"x\"", "add tag f42-build-side-22: extra sidetag_user = 2", "remove tag f43: extra a'\\ = {\"ž\": \"\\\"\"}"},
		tables: []string{"tag_extra"}},
	{name: "blocked",
		by:    "INSERT INTO users (name, status, usertype) VALUES ('tester', 0, 0)",
		first: "block_users = [\"releng\", \"tester\", \"nobody-here\", \"eve\"]\n", second: "block_users = [\"kojiadmin\"]\n[[user]]\nname = \"tester\"\n",
		tell:       []string{"add user releng: blocked", "add user eve: blocked", "add user nobody-here: blocked", "add user tester: blocked"},
		tellSecond: []string{"remove user releng: blocked", "add user kojiadmin: blocked", "remove user eve: blocked", "remove user nobody-here: blocked", "remove user tester: blocked"}, tables: []string{"users"}},
	{name: "everyone",
		by: `INSERT INTO user_krb_principals SELECT id, 'bob@ALL' FROM users WHERE name = 'stgadmin'`,
		// eve is blocked in production, bob's is taken.
		first: "[everyone]\n" + "principals = [\"{name}@ALL\"]\n", second: "[everyone]\n" + "principals = [\"{name}@ALL\"]\n" + "[[user]]\nname = \"alice\"\nprincipals = [\"al@STG\"]\n[[user]]\nname = \"zoe\"\nprincipals = [\"alice@ALL\"]\n",
		tell: []string{"add everyone: principal {name}@ALL", "add user autosign: principal autosign@ALL", "add user alice: principal alice@ALL",
			"add user kojiadmin: principal kojiadmin@ALL", "add user kojira: principal kojira@ALL", "add user osbs: principal osbs@ALL", "add user releng: principal releng@ALL",
			"add user žluťoučký.kůň: principal žluťoučký.kůň@ALL"},
		tellSecond: []string{"add user alice: principal al@STG", "remove user alice: principal alice@ALL", "add user zoe", "add user zoe: principal alice@ALL"},
		tables:     []string{"user_krb_principals"}},
}

// kindsTogether is one file with all these kinds. The last has what must come first in a file.
func kindsTogether(kinds []overlayKind) overlayKind {
	all := overlayKind{name: "together"}
	for _, k := range slices.Backward(kinds) {
		all.by += k.by + ";"
		all.first, all.second = all.first+k.first, all.second+k.second
		all.tell, all.tellSecond, all.tables = append(all.tell, k.tell...), append(all.tellSecond, k.tellSecond...), append(all.tables, k.tables...)
	}
	slices.Sort(all.tables)
	all.tables = slices.Compact(all.tables)
	return all
}

// TestOverlayKinds: of each kind of entry, the first form goes in, changes into the second, goes
// away, and comes back. What was before is there again each time.
func TestOverlayKinds(t *testing.T) {
	t.Parallel()
	w, shared, snap := newLoadedOf(t, shot{}, admin)
	none := new(overlay.Overlay)
	kinds := overlayKinds
	if last := len(kinds) - 1; !seedtest.Long() {
		kinds = []overlayKind{kindsTogether(kinds[:last]), kinds[last]}
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := *shared
			s.t = t
			if k.by != "" {
				s.exec(k.by)
			}
			plain := s.state()
			states := map[string]map[string][]string{}
			var last map[string][]string
			steps := []struct {
				text string
				tell []string
			}{{k.first, k.tell}, {k.second, k.tellSecond}, {"", nil}, {k.first, nil}, {"", nil}}
			if k.name == "everyone" && !seedtest.Long() {
				steps = steps[:3] // the others come back, and are foretold
			}
			for i, step := range steps {
				o := none
				if step.text != "" {
					o = parse(t, step.text)
				}
				var dry *book.LoadReport
				if (i == 0 || i == 2) && len(steps) > 3 {
					dry = s.only(snap, dbsync.LoadOptions{Overlay: o, DryRun: true})
				}
				rep := s.only(snap, dbsync.LoadOptions{Overlay: o})
				if dry != nil {
					foretold(t, dry, rep)
				}
				if !rep.Changed() || len(rep.Conflicts)+len(rep.Kept)+len(rep.LeftOut) > 0 {
					t.Errorf("%d: %+v", i, rep)
				}
				if step.tell != nil {
					var told []string
					for _, c := range rep.Overlay {
						told = append(told, c.Action+" "+c.Entry)
					}
					slices.Sort(told)
					slices.Sort(step.tell)
					if !slices.Equal(told, step.tell) {
						t.Errorf("%d: told\n%s\nwant\n%s", i, strings.Join(told, "\n"), strings.Join(step.tell, "\n"))
					}
				}
				now := s.state()
				if i == 0 {
					s.still(snap, o)
					var changed []string
					for table := range now {
						if !slices.Equal(now[table], plain[table]) {
							changed = append(changed, table)
						}
					}
					slices.Sort(changed)
					if !slices.Equal(changed, k.tables) {
						t.Errorf("tables changed: %q, want %q", changed, k.tables)
					}
				}
				if reflect.DeepEqual(now, last) {
					t.Errorf("%d: nothing is different", i)
				}
				last = now
				if want, ok := states[step.text]; ok {
					same(t, want, now)
				} else if step.text == "" {
					same(t, plain, now)
				}
				states[step.text] = now
			}
			s.check(w, shot{})
		})
	}
}

// TestOverlayExample loads the example, and looks for what Fedora's playbook does.
func TestOverlayExample(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	w.find("external_repo_config", "external_repo_id", 2, "active", "t")["url"] = str("https://kojipkgs.fedoraproject.org/repos/$arch/")
	s := newStaging(t, admin)
	snap := w.snapshot(shot{})
	s.load(snap, dbsync.LoadOptions{})
	plain := s.state()
	o, err := overlay.Read("../scripts/overlay.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	s.load(snap, dbsync.LoadOptions{Overlay: o})
	s.still(snap, o)
	got := s.seen()

	// Per inventory builder: user, principal, host, arches, the channels of all and of its group.
	common := []string{"default", "osbuild", "appliance", "vm", "secure-boot", "compose", "eclipse", "images", "image"}
	var hosts, principals []string
	for _, g := range []struct {
		host   string
		n      int
		arches string
		more   []string
	}{
		{"buildvm-x86-%02d.stg.iad2.fedoraproject.org", 5, "i386 x86_64", []string{"container", "createrepo", "livemedia"}},
		{"buildvm-a64-%02d.stg.iad2.fedoraproject.org", 2, "aarch64", nil},
		{"buildvm-ppc64le-%02d.stg.iad2.fedoraproject.org", 3, "ppc64le", nil},
		{"buildvm-s390x-%02d.stg.s390.fedoraproject.org", 1, "s390x", nil},
	} {
		channels := slices.Sorted(slices.Values(slices.Concat(common, g.more)))
		for i := range g.n {
			name := fmt.Sprintf(g.host, i+1)
			hosts = append(hosts, strings.Join([]string{name, name, g.arches, "2", "t", strings.Join(channels, " ")}, "\t"))
			principals = append(principals, name+"\tcompile/"+name+"@STG.FEDORAPROJECT.ORG")
		}
	}
	diff(t, "hosts", hosts, got["hosts"])
	// Production's people with staging's realm, but those of programs and of new admins by entries.
	for _, p := range []string{"alice\talice", "bob\tbob", "releng\treleng", "kojiadmin\tkojiadmin", "žluťoučký.kůň\tžluťoučký.kůň",
		"releng-anna\treleng-anna", "releng-boris\treleng-boris", "releng-chen\treleng-chen", "releng-dora\treleng-dora",
		"mbs/mbs.stg.fedoraproject.org\tmbs/mbs.stg.fedoraproject.org", "kojira\tkojira/koji.stg.fedoraproject.org", "autosign\tautosign/autosign01.stg.iad2.fedoraproject.org",
		"bodhi\tbodhi/bodhi.stg.fedoraproject.org", "compose\tcompose/koji.stg.fedoraproject.org", "osbs\tosbs/osbs.stg.fedoraproject.org",
		"koschei\tkoschei/koschei-backend01.stg.iad2.fedoraproject.org", "hotness\thotness/hotness01.stg.iad2.fedoraproject.org"} {
		principals = append(principals, p+"@STG.FEDORAPROJECT.ORG")
	}
	diff(t, "principals", append(principals, "stgadmin\tstgadmin@STG.EXAMPLE.COM"), got["principals"])
	diff(t, "grants", []string{"stgadmin\tadmin", "releng-anna\tadmin", "releng-boris\tadmin", "releng-chen\tadmin", "releng-dora\tadmin", "kojira\trepo",
		"autosign\tsign", "bodhi\ttag", "bodhi\ttarget", "compose\tdist-repo", "compose\timage"}, got["perms"])
	diff(t, "content generators", []string{"mbs/mbs.stg.fedoraproject.org\tmodule-build-service", "image-builder\tosbuild", "osbs\tosbuild"}, got["cgs"])
	if url := s.one("SELECT url FROM external_repo_config WHERE external_repo_id = 2 AND active"); url != "https://kojipkgs.stg.fedoraproject.org/repos/$arch/" {
		t.Errorf("url: %s", url)
	}
	// Nothing of production's runs or is logged in: there are no such rows.
	for _, table := range []string{"sessions WHERE user_id < 990000000", "task", "repo", "buildroot", "host WHERE id < 990000000"} {
		if n := s.one("SELECT count(*) FROM " + table); n != "0" {
			t.Errorf("%s: %s rows", table, n)
		}
	}

	s.load(snap, dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
	same(t, plain, s.state())
	if text, err := os.ReadFile("../scripts/overlay.example.toml"); err != nil || !strings.Contains(string(text), "[[target]]") {
		t.Errorf("%v: the example lacks targets", err)
	}
}
