package integration_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/relation"
)

// What staging's people do to keys of versioned relations that production changes too.

// mapping is which ids stand for which by now.
func (w *worker) mapping() mapping {
	s := state{"kojisnap.idmap": map[string]row{}}
	for i, f := range w.strings("SELECT relation, prod_id, staging_id, made FROM kojisnap.idmap") {
		s["kojisnap.idmap"][fmt.Sprint(i)] = row{"relation": f[0], "prod_id": f[1], "staging_id": f[2]}
	}
	return readMapping(s)
}

// versionedRelation is one at random.
func (w *worker) versionedRelation() *relation.Relation {
	var all []*relation.Relation
	for _, r := range relation.All() {
		if r.Versioned {
			all = append(all, r)
		}
	}
	return all[w.rnd.IntN(len(all))]
}

// changeTheirs changes what production changed since the last load, often just as production did.
func (w *worker) changeTheirs() string {
	r := w.versionedRelation()
	var found []row
	for _, key := range sorted(w.truth.rows[r.Name]) {
		if s := w.truth.rows[r.Name][key]; max(s.id("create_event"), s.id("revoke_event")) > w.since {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return ""
	}
	s := w.mapping().staging(r, found[w.rnd.IntN(len(found))])
	return w.change(r, pick(s, subjectOf(r)), s)
}

// changeAgain changes what staging changed before.
func (w *worker) changeAgain() string {
	if len(w.ours) == 0 {
		return ""
	}
	k := w.oneOfOurs()
	return w.change(k.rel, k.key, nil)
}

// oneOfOurs is something that staging changed before, often lately: both sides go to and fro about it.
func (w *worker) oneOfOurs() subjectKey {
	n := len(w.ours)
	if w.rnd.IntN(2) == 0 {
		n = min(n, 12)
	}
	return w.ours[len(w.ours)-1-w.rnd.IntN(n)]
}

// changeAny changes what is there.
func (w *worker) changeAny() string {
	r := w.versionedRelation()
	columns := subjectOf(r)
	f := w.pick(fmt.Sprintf("SELECT DISTINCT %[1]s FROM %[2]s ORDER BY %[1]s", strings.Join(columns, ", "), r.Name))
	if f == nil {
		return ""
	}
	of := row{}
	for i, c := range columns {
		of[c] = f[i]
	}
	return w.change(r, of, nil)
}

// undo takes back what staging did: it makes what it removed, or removes what it made.
func (w *worker) undo() string {
	r := w.versionedRelation()
	if keys := sorted(w.model.removed[r.Name]); len(keys) > 0 && w.rnd.IntN(2) == 0 {
		of := w.model.removed[r.Name][keys[w.rnd.IntN(len(keys))]].key
		last := w.newest(r, of)
		if last == nil || w.active(r, of) != nil || !w.allows(r, of) {
			return ""
		}
		w.put(r, last)
		return fmt.Sprintf("made again %s %v", r.Name, of)
	}
	f := w.pick(fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE active AND create_event >= %[3]d ORDER BY %[1]s", strings.Join(subjectOf(r), ", "), r.Name, floor))
	if f == nil || r.Name == "tag_config" {
		return ""
	}
	of := row{}
	for i, c := range subjectOf(r) {
		of[c] = f[i]
	}
	w.drop(r, of)
	return fmt.Sprintf("took back %s %v", r.Name, of)
}

// where is the condition that a row is about a subject.
func where(of row) (sql string, args []any) {
	var all []string
	for i, c := range sorted(of) {
		all = append(all, fmt.Sprintf("%s = $%d", c, i+1))
		args = append(args, of[c])
	}
	return strings.Join(all, " AND "), args
}

// active is the active row of a subject, nil if there is none.
func (w *worker) active(r *relation.Relation, of row) row { return w.one(r, of, "active") }

// newest is production's newest row of a subject.
func (w *worker) newest(r *relation.Relation, of row) row {
	return w.one(r, of, fmt.Sprintf("create_event < %d ORDER BY create_event DESC LIMIT 1", floor))
}

func (w *worker) one(r *relation.Relation, of row, rest string) row {
	sql, args := where(of)
	columns := r.ColumnNames()
	found := w.values(fmt.Sprintf("SELECT %s FROM %s WHERE %s AND %s", strings.Join(columns, ", "), r.Name, sql, rest), args...)
	if len(found) == 0 {
		return nil
	}
	out := row{}
	for i, v := range found[0] {
		switch v := v.(type) {
		case nil:
		case bool:
			out[columns[i]] = strconv.FormatBool(v)[:1]
		default:
			out[columns[i]] = fmt.Sprint(v)
		}
	}
	return out
}

// change changes what a subject is about as one of Koji's calls does; theirs, if not nil, is what
// production has of it.
func (w *worker) change(r *relation.Relation, of, theirs row) string {
	if !w.allows(r, of) {
		return ""
	}
	cur := w.active(r, of)
	what := fmt.Sprintf("%s %v", r.Name, of)
	if theirs != nil && w.rnd.IntN(2) == 0 {
		switch gone := theirs["active"] != "t"; {
		case gone && cur != nil:
			w.drop(r, of)
			return "removed, as production did, " + what
		case !gone:
			if !w.there(r, theirs) {
				return ""
			}
			w.revoke(r.Name, inline(of))
			w.put(r, theirs)
			return "made, as production did, " + what
		}
	}
	switch kind := w.rnd.IntN(4); {
	case cur == nil:
		w.put(r, w.edited(r, of))
		return "made " + what
	case kind == 0:
		w.drop(r, of)
		return "removed " + what
	case kind == 1 || r.Name == "tag_listing":
		w.drop(r, of)
		w.event = ""
		w.put(r, cur)
		return "removed and made again " + what
	}
	w.revoke(r.Name, inline(of))
	w.put(r, w.edited(r, cur))
	if r.Name == "tag_packages" { // Koji's _pkglist_add
		w.revoke("tag_package_owners", inline(of))
		w.create("tag_package_owners", "package_id, tag_id, owner", of["package_id"], of["tag_id"], w.user)
	}
	return "changed " + what
}

// inline is where with the values in it; none of a key has more than letters, digits and the like.
func inline(of row) string {
	var all []string
	for _, c := range sorted(of) {
		all = append(all, fmt.Sprintf("%s = '%s'", c, strings.ReplaceAll(of[c], "'", "''")))
	}
	return strings.Join(all, " AND ")
}

// put makes an active row with a row's values.
func (w *worker) put(r *relation.Relation, d row) {
	var columns []string
	var values []any
	for _, c := range r.Columns {
		if v, ok := d[c.Name]; ok && !slices.Contains([]string{"create_event", "revoke_event", "creator_id", "revoker_id", "active"}, c.Name) {
			columns, values = append(columns, c.Name), append(values, v)
		}
	}
	w.create(r.Name, strings.Join(columns, ", "), values...)
}

// drop removes what is about a subject, with what Koji removes along with it.
func (w *worker) drop(r *relation.Relation, of row) {
	switch r.Name {
	case "tag_config":
		w.dropTag(of["tag_id"])
	case "external_repo_config":
		w.revoke("tag_external_repos", inline(of))
		w.revoke(r.Name, inline(of))
	default:
		w.revoke(r.Name, inline(of))
	}
}

// there reports whether all that a row refers to is in staging's database.
func (w *worker) there(r *relation.Relation, d row) bool {
	for _, c := range r.Columns {
		if v, ok := d[c.Name]; ok && c.Ref != "" && c.Ref != "events" && !slices.Contains([]string{"creator_id", "revoker_id"}, c.Name) &&
			w.get("SELECT count(*) FROM "+c.Ref+" WHERE id = $1", v) == "0" {
			return false
		}
	}
	return true
}

// allows reports whether Koji would take a change of a subject: what it refers to is there, and active.
func (w *worker) allows(r *relation.Relation, of row) bool {
	if !w.there(r, of) {
		return false
	}
	for _, c := range []string{"tag_id", "parent_id"} {
		if of[c] != "" && r.Name != "tag_config" && w.active(relation.Get("tag_config"), row{"tag_id": of[c]}) == nil {
			return false
		}
	}
	switch r.Name {
	case "tag_listing":
		return w.get("SELECT state FROM build WHERE id = $1", of["build_id"]) == "1"
	case "tag_inheritance":
		return of["tag_id"] != of["parent_id"]
	case "tag_external_repos":
		return w.active(relation.Get("external_repo_config"), row{"external_repo_id": of["external_repo_id"]}) != nil
	case "external_repo_config":
		return of["external_repo_id"] != "0"
	case "group_req_listing", "group_package_listing":
		return w.active(relation.Get("group_config"), pick(of, []string{"group_id", "tag_id"})) != nil
	}
	return true
}

// edited is a row with other values, or one of its key with first values.
func (w *worker) edited(r *relation.Relation, d row) row {
	fresh := d["create_event"] == ""
	set := func(column string, values ...string) {
		if _, ok := d[column]; fresh || !ok || w.rnd.IntN(2) == 0 {
			d = d.with(column, values[w.rnd.IntN(len(values))])
			if d[column] == null {
				delete(d, column)
			}
		}
	}
	switch r.Name {
	case "tag_config":
		set("arches", null, "x86_64", "s390x", "x86_64 aarch64")
		set("locked", "t", "f")
		set("maven_support", "t", "f")
		set("maven_include_all", "t", "f")
	case "tag_extra":
		set("value", null, `"stg"`, "true", "17", `{"stg": [1, null]}`) // NULL blocks it
	case "tag_inheritance":
		set("priority", "0", "5", w.priority(r.Name, d["tag_id"]))
		set("maxdepth", null, "2", "9")
		set("intransitive", "f", "f", "t")
		set("noconfig", "f", "f", "t")
		set("pkg_filter", "", "^stg", "^[a-p]")
	case "tag_packages":
		set("blocked", "t", "f")
		set("extra_arches", null, "", "s390x")
	case "tag_package_owners":
		d = d.with("owner", w.someNamed("users")[0])
	case "build_target_config":
		set("build_tag", w.tag())
		set("dest_tag", w.tag())
	case "external_repo_config":
		d = d.with("url", "https://stg.example.com/"+w.word()+"/")
	case "tag_external_repos":
		set("priority", "0", "5", w.priority(r.Name, d["tag_id"]))
		set("merge_mode", "koji", "simple", "bare")
		set("arches", null, "x86_64")
	case "group_config":
		d = d.with("display_name", w.word())
		set("blocked", "f", "f", "t")
		set("exported", "t", "f")
		set("uservisible", "t", "f")
		set("biarchonly", "f")
	case "group_req_listing":
		set("blocked", "f", "f", "t")
		set("type", "mandatory", "optional")
		set("is_metapkg", "t", "f")
	case "group_package_listing":
		set("blocked", "f", "f", "t")
		set("type", "mandatory", "optional", "default")
		set("requires", null, "", "bash")
	}
	return d
}

// null stands for NULL among values.
const null = "\x00"

// swapPriorities lets two of a tag's parents, or of its external repos, change places, or gives the
// place of one to another.
func (w *worker) swapPriorities() string {
	r, other := relation.Get("tag_inheritance"), "parent_id"
	if w.rnd.IntN(2) == 0 {
		r, other = relation.Get("tag_external_repos"), "external_repo_id"
	}
	f := w.pick(fmt.Sprintf("SELECT a.tag_id, a.%[1]s, b.%[1]s FROM %[2]s a JOIN %[2]s b USING (tag_id) WHERE a.active AND b.active AND a.%[1]s < b.%[1]s ORDER BY 1, 2, 3", other, r.Name))
	if f == nil {
		return ""
	}
	a, b := w.active(r, row{"tag_id": f[0], other: f[1]}), w.active(r, row{"tag_id": f[0], other: f[2]})
	w.revoke(r.Name, inline(row{"tag_id": f[0], other: f[1]}))
	w.revoke(r.Name, inline(row{"tag_id": f[0], other: f[2]}))
	w.put(r, a.with("priority", b["priority"]))
	if w.rnd.IntN(3) == 0 {
		return fmt.Sprintf("gave the priority of %s in tag %s to %s", f[2], f[0], f[1])
	}
	w.put(r, b.with("priority", a["priority"]))
	return fmt.Sprintf("swapped the priorities of %s and %s in tag %s", f[1], f[2], f[0])
}

// sideTag makes a side tag as the plugin sidetag does, with its target.
func (w *worker) sideTag() string {
	base, name := w.tag(), w.freshName("tag")
	id := w.get("INSERT INTO tag (name) VALUES ($1) RETURNING id", name)
	w.create("tag_config", "tag_id, arches", id, "x86_64")
	w.create("tag_extra", "tag_id, key, value", id, "sidetag", "true")
	w.create("tag_extra", "tag_id, key, value", id, "sidetag_user_id", w.user)
	w.create("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", id, base, 0, false, false, "")
	target := w.pick("SELECT id FROM build_target WHERE name = $1", name)
	if target == nil {
		target = []string{w.get("INSERT INTO build_target (name) VALUES ($1) RETURNING id", name)}
	}
	w.create("build_target_config", "build_target_id, build_tag, dest_tag", target[0], id, id)
	return "new side tag " + name
}

// removeSideTag removes one, staging's or production's.
func (w *worker) removeSideTag() string {
	f := w.pick("SELECT tag_id FROM tag_extra WHERE active AND key = 'sidetag' ORDER BY 1")
	if f == nil {
		return ""
	}
	w.dropTag(f[0])
	return "removed side tag " + f[0]
}
