package pull_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// oddities are rows of production that its hub cannot send, or that Koji would not have. Each is put into
// good rows: plant says what to change, and how a snapshot then differs.
type oddity struct {
	name  string
	table string
	where hubtest.Values
	set   hubtest.Values
	want  func(good rowsByRelation) rowsByRelation
	left  []string // for each thing left out "relation row kept"; empty: nothing is
	say   string   // in the reason
}

// oddities returns the oddities for some good rows.
func oddities(t testing.TB, good rowsByRelation) []oddity {
	id := func(s string) int { return int(number(s)) }
	// Each oddity is in a build of its own as far as possible, so that many can be in one hub.
	var build, rpm string
	builds := good.plainBuilds(t)
	next := func() {
		build, builds = builds[0], append(builds[1:], builds[0])
		rpm = good.first(t, "rpminfo", "build_id", build, "id")
	}
	next()
	module := good.first(t, "build_types", "btype_id", good.first(t, "btype", "name", "module", "id"), "build_id")
	archive := ""
	for _, row := range good["archiveinfo"] {
		if len(good.with("archive_rpm_components", "archive_id", row[0])) == 0 && archive == "" {
			archive = row[0] // without it, its components are not asked for
		}
	}
	ofBuild := good.first(t, "archiveinfo", "id", archive, "build_id")
	var second, ofSecond string // the second archive of a build with one of a type that has a table
	counts := map[string]int{}
	for _, row := range good["archiveinfo"] {
		rel := relation.Get("archiveinfo")
		if of := row[rel.Index("build_id")]; second == "" {
			if counts[of]++; counts[of] == 2 && len(good.with("maven_archives", "archive_id", row[0])) > 0 {
				second, ofSecond = row[0], of
			}
		}
	}
	if second == "" {
		t.Fatal("no build has two archives")
	}
	group := good["group_config"][0]
	groupKey := strings.Join([]string{group[relation.Get("group_config").Index("create_event")], group[0], group[1]}, " ")
	repo := good["external_repo_config"][0]
	packageOf := func(build string) string { return good.first(t, "build", "id", build, "pkg_id") }
	user := good.first(t, "build", "id", build, "owner")
	asked := "" // a tag that is asked for and has an extra
	for _, row := range good["tag_extra"] {
		if tag := row[0]; slices.Contains(oddTags, good.first(t, "tag", "id", tag, "name")) {
			asked = tag
		}
	}
	same := func(good rowsByRelation) rowsByRelation { return good }
	without := func(name, column, value string) func(rowsByRelation) rowsByRelation {
		return func(good rowsByRelation) rowsByRelation { return good.set(name, "id", value, column, `\N`) }
	}
	gone := func(name, value string) func(rowsByRelation) rowsByRelation {
		return func(good rowsByRelation) rowsByRelation { return good.without(map[string][]string{name: {value}}) }
	}
	const bigInt, cut, half = `{"a": 99999999999999999999}`, `{"a": [1, `, `{"a": "x\ud800y"}`
	control, deep := `{"a": "`+`\u0001`+`"}`, `{"a": `+strings.Repeat("[", 150)+strings.Repeat("]", 150)+`}`
	archiveLeft := "archiveinfo build " + ofBuild + " without extra"
	secondLeft := "archiveinfo build " + ofSecond + " without extra"
	rpmLeft := func() string { return "rpminfo rpm " + rpm + " " }
	sourced := builds[0]
	all := []oddity{
		// Columns that a row can do without.
		{"extra of a build with a control character", "build", hubtest.Values{"id": id(build)}, hubtest.Values{"extra": control}, without("build", "extra", build), []string{"build build " + build + " without extra"}, "U+0001"},
		{"extra of a build too deep", "build", hubtest.Values{"id": id(module)}, hubtest.Values{"extra": deep}, without("build", "extra", module), []string{"build build " + module + " without extra"}, "nested more than 100 deep"},
		{"source of a build with a control character", "build", hubtest.Values{"id": id(sourced)}, hubtest.Values{"source": "git\x02"}, without("build", "source", sourced), []string{"build build " + sourced + " without source"}, "U+0002"},
	}
	next()
	extras := map[string]string{"control": control, "deep": deep, "big": bigInt, "cut": cut, "half": half}
	for i, what := range slices.Sorted(maps.Keys(extras)) {
		next()
		extra := extras[what]
		three := []oddity{
			oddity{"extra of an rpm, " + what, "rpminfo", hubtest.Values{"id": id(rpm)}, hubtest.Values{"extra": extra}, without("rpminfo", "extra", rpm), []string{rpmLeft() + "without extra"}, ""},
			oddity{"extra of an archive, " + what, "archiveinfo", hubtest.Values{"id": id(archive)}, hubtest.Values{"extra": extra}, without("archiveinfo", "extra", archive), []string{archiveLeft}, "archive " + archive},
			oddity{"extra of a build's second archive, " + what, "archiveinfo", hubtest.Values{"id": id(second)}, hubtest.Values{"extra": extra}, without("archiveinfo", "extra", second), []string{secondLeft}, "archive " + second},
		}
		if seedtest.Long() {
			all = append(all, three...)
		} else { // each text, and each table, but not all pairs
			all = append(all, three[i%len(three)])
		}
	}
	for _, what := range []string{"big", "cut", "half"} {
		next()
		all = append(all, oddity{"extra of a build, " + what, "build", hubtest.Values{"id": id(build)}, hubtest.Values{"extra": extras[what]}, gone("build", build), []string{"build build " + build + " "}, fmt.Sprintf("getBuild(%s)", build)})
	}
	for _, text := range []string{"10000-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC"} {
		next()
		all = append(all, oddity{"completion of a build " + text, "build", hubtest.Values{"id": id(build)}, hubtest.Values{"completion_time": text}, gone("build", build), []string{"build build " + build + " "}, "out of range"})
	}
	for _, text := range []string{"1965-03-01 12:00:00.5+00", "infinity", "-infinity"} {
		next()
		build := build
		all = append(all, oddity{"completion of a build " + text, "build", hubtest.Values{"id": id(build)}, hubtest.Values{"completion_time": text},
			func(good rowsByRelation) rowsByRelation {
				return good.set("build", "id", build, "completion_time", text)
			}, nil, ""})
	}
	for _, text := range []string{"1965-03-01 12:00:00+00", "infinity"} {
		next()
		event := good.first(t, "build", "id", build, "create_event")
		all = append(all, oddity{"time of an event " + text, "events", hubtest.Values{"id": id(event)}, hubtest.Values{"time": text}, same, nil, ""})
	}
	next()
	all = append(all, oddity{"rpm with a control character", "rpminfo", hubtest.Values{"id": id(rpm)}, hubtest.Values{"payloadhash": "a\x03"}, gone("rpminfo", rpm), []string{rpmLeft()}, "payloadhash: character U+0003"})
	next()
	climbing, versioned, named, slashed := rpm, builds[0], packageOf(builds[1]), packageOf(builds[2])
	hashless := good.first(t, "rpminfo", "build_id", builds[3], "id")
	return append(all, []oddity{
		// Rows that are left out, with everything that depends on them.
		{"rpm whose arch climbs", "rpminfo", hubtest.Values{"id": id(climbing)}, hubtest.Values{"arch": "x86 64/.."}, gone("rpminfo", climbing), []string{rpmLeft()}, `"x86 64/.."`},
		{"archive whose name climbs", "archiveinfo", hubtest.Values{"id": id(archive)}, hubtest.Values{"filename": "../../etc/passwd"}, gone("archiveinfo", archive), []string{"archiveinfo build " + ofBuild + " "}, "passwd"},
		{"package with a control character", "package", hubtest.Values{"id": id(named)}, hubtest.Values{"name": "ba\x1bsh"}, gone("package", named), []string{"package package " + named + " "}, "U+001B"},
		{"version with a control character", "build", hubtest.Values{"id": id(versioned)}, hubtest.Values{"version": "1\x1b"}, gone("build", versioned), []string{"build build " + versioned + " "}, "version: character U+001B"},
		{"description of a group with a control character", "group_config", hubtest.Values{"group_id": id(group[0]), "tag_id": id(group[1])}, hubtest.Values{"description": "all\x08of it"},
			func(good rowsByRelation) rowsByRelation {
				rows := slices.DeleteFunc(slices.Clone(good["group_config"]), func(row []string) bool { return row[0] == group[0] && row[1] == group[1] })
				changed := good.set("group_config", "tag_id", "", "tag_id", "")
				changed["group_config"] = rows
				return changed
			}, []string{"group_config create_event=" + strings.Replace(strings.Replace(groupKey, " ", " group_id=", 1), " "+group[1], " tag_id="+group[1], 1) + " "}, "description: character U+0008"},
		{"group with a control character", "groups", hubtest.Values{"id": id(group[0])}, hubtest.Values{"name": "b\x01"}, gone("groups", group[0]), []string{"groups group " + group[0] + " "}, "U+0001"},
		{"url of an external repo with a control character", "external_repo_config", hubtest.Values{"external_repo_id": id(repo[0])}, hubtest.Values{"url": "http://\x04"},
			func(good rowsByRelation) rowsByRelation {
				return good.drop("external_repo_config", "external_repo_id", repo[0])
			},
			[]string{"external_repo_config create_event=" + repo[relation.Get("external_repo_config").Index("create_event")] + " external_repo_id=" + repo[0] + " "}, "U+0004"},
		{"channel with a control character", "channels", hubtest.Values{"id": 1}, hubtest.Values{"name": "def\x05ault"}, gone("channels", "1"), []string{"channels channel 1 "}, "U+0005"},
		{"volume that climbs", "volume", hubtest.Values{"id": 1}, hubtest.Values{"name": "a/../../b"}, gone("volume", "1"), []string{"volume volume 1 "}, `"a/../../b"`},
		{"maven's group that climbs", "maven_archives", hubtest.Values{"archive_id": 9}, hubtest.Values{"group_id": "org/../../.."},
			func(good rowsByRelation) rowsByRelation { return good.drop("maven_archives", "archive_id", "9") },
			[]string{"maven_archives archive 9 "}, `"org/../../.."`},
		// Rows with so many dependents that they get another name.
		{"type of builds that climbs", "btype", hubtest.Values{"id": 5}, hubtest.Values{"name": "../module"},
			func(good rowsByRelation) rowsByRelation {
				return good.set("btype", "id", "5", "name", "unreadable-btype-5")
			}, []string{"btype type of build 5 under another name"}, `"../module"`},
		{"user with a control character", "users", hubtest.Values{"id": id(user)}, hubtest.Values{"name": "al\x06ice"},
			func(good rowsByRelation) rowsByRelation {
				return good.set("users", "id", user, "name", "unreadable-users-"+user)
			}, []string{"users user " + user + " under another name"}, "U+0006"},
		{"permission with a control character", "permissions", hubtest.Values{"id": 1}, hubtest.Values{"name": "ad\x07min"},
			func(good rowsByRelation) rowsByRelation {
				return good.set("permissions", "id", "1", "name", "unreadable-permissions-1")
			}, []string{"permissions permission 1 under another name"}, "U+0007"},
		// Values that are data, even if they could not be in a path.
		{"rpm without a payload hash", "rpminfo", hubtest.Values{"id": id(hashless)}, hubtest.Values{"payloadhash": "(none)"}, func(good rowsByRelation) rowsByRelation {
			return good.set("rpminfo", "id", hashless, "payloadhash", "(none)")
		}, nil, ""},
		{"archive with a slash and a tab", "archiveinfo", hubtest.Values{"id": id(archive)}, hubtest.Values{"filename": "a/b\tc d"}, func(good rowsByRelation) rowsByRelation {
			return good.set("archiveinfo", "id", archive, "filename", `a/b\tc d`)
		}, nil, ""},
		{"archive without a checksum", "archiveinfo", hubtest.Values{"id": id(archive)}, hubtest.Values{"checksum": "", "checksum_type": 77},
			func(good rowsByRelation) rowsByRelation {
				return good.set("archiveinfo", "id", archive, "checksum", "").set("archiveinfo", "id", archive, "checksum_type", "77")
			}, nil, ""},
		{"package with a slash", "package", hubtest.Values{"id": id(slashed)}, hubtest.Values{"name": "perl/Foo"}, same, nil, ""},
		{"target with a slash", "build_target", hubtest.Values{"id": 1}, hubtest.Values{"name": "rel/f42"}, same, nil, ""},
		{"tag with a slash", "tag", hubtest.Values{"name": "f42"}, hubtest.Values{"name": "rel/f42"}, same, nil, ""},
		{"tag ../", "tag", hubtest.Values{"name": "f42"}, hubtest.Values{"name": "../../etc"}, same, nil, ""},
		{"tag with a line break", "tag", hubtest.Values{"name": "f42"}, hubtest.Values{"name": "f4\n2"}, same, nil, ""},
		{"permission with a slash", "permissions", hubtest.Values{"id": 1}, hubtest.Values{"name": "rel/admin"},
			func(good rowsByRelation) rowsByRelation {
				return good.set("permissions", "id", "1", "name", "rel/admin")
			}, nil, ""},
		{"channel with a slash", "channels", hubtest.Values{"id": 1}, hubtest.Values{"name": "rel/default"},
			func(good rowsByRelation) rowsByRelation {
				return good.set("channels", "id", "1", "name", "rel/default")
			}, nil, ""},
		// The history has a tag's extra as text, although getTag cannot send it.
		{"extra of a tag that is no JSON", "tag_extra", hubtest.Values{"tag_id": id(asked), "key": "list", "active": true}, hubtest.Values{"value": cut},
			func(good rowsByRelation) rowsByRelation { return good.set("tag_extra", "key", "list", "value", cut) }, nil, ""},
	}...)
}

// kinds has the kinds of oddities that were seen: table, what of it, and how its rows are kept.
type kinds map[string]bool

// first reports whether an oddity is the first of its kind. In the long form each one is.
func (k kinds) first(o oddity) bool {
	kind := o.table
	if of, _, pair := strings.Cut(o.name, ","); pair {
		kind += " " + of
	}
	for _, left := range o.left {
		kind += " " + strings.Join(strings.Fields(left)[3:], " ")
	}
	seen := k[kind]
	k[kind] = true
	return !seen || seedtest.Long()
}

// touched are the rows that an oddity is in, that it changes and that go with it, and what it is reported as.
func (o oddity) touched(good rowsByRelation) map[string]bool {
	touched := map[string]bool{}
	want := o.want(good)
	for _, rel := range relation.All() {
		for _, line := range difference(joined(good[rel.Name]), joined(want[rel.Name])) {
			touched[rel.Name+"\t"+line] = true
		}
	}
	rel := relation.Get(o.table)
	for _, row := range good[o.table] {
		in := true
		for column, v := range o.where {
			if i := rel.Index(column); i >= 0 {
				in = in && row[i] == fmt.Sprint(v)
			}
		}
		if in {
			touched[o.table+"\t"+strings.Join(row, "\t")] = true
		}
	}
	for _, left := range o.left {
		touched[strings.Join(strings.Fields(left)[:3], " ")] = true
	}
	return touched
}

// planted are oddities that are in a hub at once.
type planted []oddity

// apart puts each oddity into a hub of its own. In the short form one hub has several, as long as they do not touch
// each other: what is wrong with one does not hide what is wrong with another, and each pull costs far more than
// looking at its rows.
func apart(good rowsByRelation, odd []oddity, most int) (hubs []planted) {
	var touched []map[string]bool
next:
	for _, o := range odd {
		rows := o.touched(good)
		for i, has := range touched {
			if seedtest.Long() || len(hubs[i]) >= most {
				continue
			}
			common := false
			for row := range rows {
				common = common || has[row]
			}
			if !common {
				hubs[i] = append(hubs[i], o)
				maps.Copy(has, rows)
				continue next
			}
		}
		hubs, touched = append(hubs, planted{o}), append(touched, rows)
	}
	return hubs
}

func (p planted) String() string {
	if len(p) > 1 {
		return fmt.Sprintf("%s and %d more", p[0].name, len(p)-1)
	}
	return p[0].name
}

// log names the oddities.
func (p planted) log(t *testing.T) {
	for _, o := range p {
		t.Log(o.name)
	}
}

// want returns how a snapshot differs from that of good rows.
func (p planted) want(good rowsByRelation) rowsByRelation {
	for _, o := range p {
		good = o.want(good)
	}
	return good
}

// left returns what is left out, sorted.
func (p planted) left() (left []string) {
	for _, o := range p {
		left = append(left, o.left...)
	}
	slices.Sort(left)
	return left
}

// plant puts the oddities into rows, and returns a function that removes them.
func (p planted) plant(t *testing.T, rows *hubtest.Memory) (mend func()) {
	t.Helper()
	var mends []func()
	for _, o := range p {
		mends = append(mends, o.plant(t, rows))
	}
	return func() {
		for _, mend := range mends {
			mend()
		}
	}
}

// leftOutAs is something that was left out, in the form of oddity.
func leftOutAs(l snapfile.LeftOut) string {
	row := l.Row
	if l.Relation == "rpminfo" {
		row = strings.Join(strings.Fields(row)[:2], " ")
	}
	return l.Relation + " " + row + " " + l.Kept
}

// leftOut returns what a pull left out, sorted.
func leftOut(m *snapfile.Manifest) (left []string) {
	for _, l := range m.LeftOut {
		left = append(left, leftOutAs(l))
	}
	slices.Sort(left)
	return left
}

// TestPullOdd plants odd rows that have nothing to do with each other (in the long form one at a time). A row and its
// dependents are left out, or the row lacks the odd value, and this is reported once. The rest of the snapshot is
// unchanged.
func TestPullOdd(t *testing.T) {
	t.Parallel()
	c, _ := pulltest.Production(t, hubtest.Options{})
	good := allRows(t, pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, oddTags...))
	all := oddities(t, good)
	var paged []oddity
	seen := kinds{}
	for _, odd := range all {
		if slices.Contains([]string{"build", "rpminfo", "archiveinfo"}, odd.table) && seen.first(odd) {
			paged = append(paged, odd)
		}
	}
	pages := map[string]string{"build": "table", "rpminfo": "table", "rpmsigs": "table", "archiveinfo": "table"}
	for _, hubs := range []struct {
		ways map[string]string
		all  []planted
	}{{nil, apart(good, all, len(all))}, {pages, apart(good, paged, len(paged))}} {
		for _, odd := range hubs.all {
			t.Run(fmt.Sprint(odd, " ", len(hubs.ways) > 0), func(t *testing.T) {
				t.Parallel()
				odd.log(t)
				rows, err := hubtest.Rows(kojiprod.Rows())
				if err != nil {
					t.Fatal(err)
				}
				odd.plant(t, rows)
				client := pulltest.ClientWith(t, hubtest.New(rows, hubtest.Options{}), hub.Options{RetryInterval: 1})
				s := pulltest.NewStore(t)
				r, snap := pulltest.PullWith(t, client, s, pull.Options{Tags: oddTags, Event: pulltest.LastEvent}.WithPager(pager.Options{Strategies: hubs.ways}))
				want := odd.left()
				if left := leftOut(snap.Manifest); !slices.Equal(left, want) || len(r.LeftOut) != len(want) {
					t.Errorf("left out: %q, want %q", left, want)
				}
				for _, l := range r.LeftOut {
					line := l.String()
					for _, o := range odd {
						if slices.Contains(o.left, leftOutAs(l)) && !strings.Contains(line, o.say) || strings.ContainsAny(line, "\n\x00") {
							t.Errorf("%q does not say %q", line, o.say)
						}
					}
				}
				odd.want(good).hold(t, allRows(t, snap))
			})
		}
	}
}

// plant puts an oddity into rows, and returns a function that removes it.
func (o oddity) plant(t *testing.T, rows *hubtest.Memory) (mend func()) {
	t.Helper()
	was, err := rows.Select(o.table, o.where)
	if err != nil || len(was) == 0 {
		t.Fatal(len(was), err)
	}
	if n, err := rows.Update(o.table, o.where, o.set); n != len(was) || err != nil {
		t.Fatal(n, err)
	}
	return func() {
		for _, row := range was {
			now, right := hubtest.Values{}, hubtest.Values{}
			for column, v := range row {
				if _, changed := o.set[column]; changed {
					right[column] = v
				} else if v != nil {
					now[column] = v
				}
			}
			if n, err := rows.Update(o.table, now, right); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
	}
}

// TestPullOddAgain pulls repeatedly from a hub with an odd row. What the first snapshot lacks because of it
// is asked for each time, and everything else is kept. Once the row is repaired, everything is there. If a
// row becomes odd later, its earlier values stay, also with --full.
func TestPullOddAgain(t *testing.T) {
	t.Parallel()
	c, _ := pulltest.Production(t, hubtest.Options{})
	good := allRows(t, pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, oddTags...))
	builds := len(good["build"])
	var all []oddity
	again := kinds{}
	for _, odd := range oddities(t, good) {
		if len(odd.left) > 0 && again.first(odd) {
			all = append(all, odd)
		}
	}
	for _, odd := range apart(good, all, 4) { // few: of the odd builds a quarter is asked for again
		t.Run(odd.String(), func(t *testing.T) {
			t.Parallel()
			odd.log(t)
			rows, err := hubtest.Rows(kojiprod.Rows())
			if err != nil {
				t.Fatal(err)
			}
			server := hubtest.New(rows, hubtest.Options{})
			client := pulltest.ClientWith(t, server, hub.Options{RetryInterval: 1})
			now := time.Now()
			pullInto := func(s *dir.Store, o pull.Options) *snapfile.Snapshot {
				t.Helper()
				now = now.Add(time.Second) // the latest snapshot is chosen by it
				o.Now = func() time.Time { return now }
				o.Tags, o.Event, o.Sweep, o.Overlap = oddTags, pulltest.LastEvent, 1000, -1 // the sweep asks for nothing
				_, snap := pulltest.PullWith(t, client, s, o)
				return snap
			}
			mend := odd.plant(t, rows)
			s := pulltest.NewStore(t)
			pullInto(s, pull.Options{})
			before := server.Calls()["getBuild"]
			second := pullInto(s, pull.Options{})
			if n := server.Calls()["getBuild"] - before; n > builds/4 {
				t.Errorf("%d builds of %d were asked for again", n, builds)
			}
			if got := leftOut(second.Manifest); !slices.Equal(got, odd.left()) {
				t.Errorf("again: left out %q, want %q", got, odd.left())
			}
			odd.want(good).hold(t, allRows(t, second))
			// The first one may have events that only left out rows refer to.
			if again := pullInto(s, pull.Options{}); again.ID != second.ID {
				t.Errorf("nothing changed, and %s is another snapshot than %s", again.ID, second.ID)
			}
			mend()
			third := pullInto(s, pull.Options{})
			if len(third.Manifest.LeftOut) > 0 {
				t.Errorf("mended: left out %+v", third.Manifest.LeftOut)
			}
			good.hold(t, allRows(t, third))
			if t.Failed() {
				return
			}
			odd.plant(t, rows)
			full := pullInto(s, pull.Options{Full: true})
			want, left := good, []string{}
			for _, o := range odd {
				if known := strings.TrimSuffix(o.left[0], snapfile.KeptName); strings.HasSuffix(known, " ") {
					left = append(left, known+snapfile.KeptLast)
					continue
				}
				want, left = o.want(want), append(left, o.left...)
			}
			slices.Sort(left)
			if got := leftOut(full.Manifest); !slices.Equal(got, left) {
				t.Errorf("full: left out %q, want %q", got, left)
			}
			want.hold(t, allRows(t, full))
		})
	}
}
