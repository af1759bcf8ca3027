package integration_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/hub/hubtest"
)

// worker is staging's people: they do what Koji's hub lets them, at random, as it does it.
type worker struct {
	*database
	rnd         *rand.Rand
	prod        *hubtest.Memory
	model       *model
	admin, user string
	n           int
	event       string // of this deed, empty: none yet

	truth *truth       // what production has by now
	since int          // the event that was loaded last
	ours  []subjectKey // what staging changed before
}

type deed struct {
	weight int
	do     func(*worker) string // what it did, empty: nothing
}

var deeds = []deed{
	{6, (*worker).newBuild}, {6, (*worker).importTheirs}, {4, (*worker).importTheirRPM}, {5, (*worker).tagBuild}, {4, (*worker).tagLikeThem},
	{5, (*worker).untag}, {2, (*worker).newTag}, {1, (*worker).deleteTag}, {4, (*worker).rename}, {2, (*worker).swap}, {3, (*worker).newName},
	{1, (*worker).blockUser}, {2, (*worker).target}, {3, (*worker).editConfig}, {3, (*worker).editExtra}, {2, (*worker).editInheritance},
	{3, (*worker).editPackage}, {2, (*worker).ownPackage}, {1, (*worker).editGroup}, {2, (*worker).externalRepo}, {4, (*worker).resubmit},
	{3, (*worker).finish}, {3, (*worker).deleteBuild}, {2, (*worker).resetBuild}, {3, (*worker).promote}, {2, (*worker).importDraft}, {3, (*worker).sign}, {2, (*worker).signLikeThem}, {3, (*worker).unsign},
	{2, (*worker).moveVolume}, {2, (*worker).ownBuild}, {2, (*worker).image}, {2, (*worker).buildroot}, {3, (*worker).addRPM}, {2, (*worker).maven},
	{2, (*worker).revert}, {2, (*worker).giveUp},
	{16, (*worker).changeTheirs}, {8, (*worker).changeAgain}, {8, (*worker).changeAny}, {8, (*worker).undo}, {4, (*worker).swapPriorities},
	{2, (*worker).sideTag}, {1, (*worker).removeSideTag},
}

// step does one thing and says what.
func (w *worker) step() string {
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	for range 1000 {
		at := w.rnd.IntN(total)
		for _, d := range deeds {
			if at -= d.weight; at >= 0 {
				continue
			}
			if did := w.once(d); did != "" {
				return did
			}
			break
		}
	}
	w.t.Fatal("staging has nothing to do")
	return ""
}

// once does one thing as one of the hub's calls, and says what, "" if it comes to nothing.
func (w *worker) once(d deed) string {
	w.event = ""
	w.user = w.someone()
	w.exec("BEGIN")
	did, err := w.try(d)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" { // the hub would refuse it
		did = ""
	} else if err != nil {
		w.t.Fatal(err)
	}
	if did == "" {
		w.exec("ROLLBACK")
		return ""
	}
	w.exec("COMMIT")
	return did
}

// someone is who does a deed: one of staging's own people, or one of production's.
func (w *worker) someone() string {
	if w.rnd.IntN(3) > 0 {
		return w.admin
	}
	return w.pick("SELECT id FROM users WHERE usertype = 0 AND name <> 'kojisnap' ORDER BY id")[0]
}

type refused struct{ error }

func (w *worker) try(d deed) (did string, err error) {
	defer func() {
		if r, ok := recover().(refused); ok {
			err = r.error
		}
	}()
	return d.do(w), nil
}

// run executes a statement.
func (w *worker) run(sql string, args ...any) {
	if _, err := w.conn.Exec(w.t.Context(), sql, args...); err != nil {
		panic(refused{fmt.Errorf("%s %v: %w", sql, args, err)})
	}
}

// get runs a statement that returns one value.
func (w *worker) get(sql string, args ...any) string {
	var v any
	if err := w.conn.QueryRow(w.t.Context(), sql, args...).Scan(&v); err != nil {
		panic(refused{fmt.Errorf("%s %v: %w", sql, args, err)})
	}
	return fmt.Sprint(v)
}

// pick is one of a query's rows, nil if there is none.
func (w *worker) pick(sql string, args ...any) []string {
	found := w.strings(sql, args...)
	if len(found) == 0 {
		return nil
	}
	return found[w.rnd.IntN(len(found))]
}

// ev is the event of this deed.
func (w *worker) ev() string {
	if w.event == "" {
		w.event = w.get("SELECT get_event()")
	}
	return w.event
}

func (w *worker) create(table, columns string, values ...any) {
	marks := make([]string, len(values))
	for i := range values {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	w.run(fmt.Sprintf("INSERT INTO %s (%s, create_event, creator_id) VALUES (%s, %s, %s)", table, columns, strings.Join(marks, ", "), w.ev(), w.user), values...)
}

func (w *worker) revoke(table, where string, args ...any) {
	w.run(fmt.Sprintf("UPDATE %s SET active = NULL, revoke_event = %s, revoker_id = %s WHERE active AND %s", table, w.ev(), w.user, where), args...)
}

func (w *worker) word() string { w.n++; return fmt.Sprintf("stg%d", w.n) }

// theirs are rows of production's that staging does not have yet, by id.
func (w *worker) theirs(table string, wanted func(hubtest.Values) bool) hubtest.Values {
	have := map[string]bool{}
	for _, f := range w.strings("SELECT id FROM " + table) {
		have[f[0]] = true
	}
	all, err := w.prod.Select(table, nil)
	must(w.t, err)
	var found []hubtest.Values
	for _, v := range all {
		if !have[fmt.Sprint(v["id"])] && (wanted == nil || wanted(v)) {
			found = append(found, v)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.rnd.IntN(len(found))]
}

func (w *worker) theirName(table string, id any) string {
	found, err := w.prod.Select(table, hubtest.Values{"id": id})
	must(w.t, err)
	return fmt.Sprint(found[0]["name"])
}

// rows is one of production's rows that are wanted, nil if there is none.
func (w *worker) rows(table string, wanted func(row) bool) row {
	all, err := w.prod.Select(table, nil)
	must(w.t, err)
	var found []row
	for _, v := range all {
		r := row{}
		for c, x := range v {
			if x != nil {
				r[c] = fmt.Sprint(x)
			}
		}
		if wanted(r) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.rnd.IntN(len(found))]
}

func (w *worker) insertBuild(pkg, version, release string, state int) string {
	return w.get(`INSERT INTO build (volume_id, pkg_id, version, release, create_event, start_time, completion_time, state, owner)
		VALUES (0, $1, $2, $3, $4, now(), CASE WHEN $5 <> 0 THEN now() END, $5, $6) RETURNING id`, pkg, version, release, w.ev(), state, w.user)
}

func (w *worker) insertRPM(build, name, version, release, arch string) string {
	id := w.get(`INSERT INTO rpminfo (build_id, name, version, release, arch, draft, external_repo_id, payloadhash, size, buildtime)
		VALUES ($1, $2, $3, $4, $5, false, 0, md5($6), 1, 1) RETURNING id`, build, name, version, release, arch, w.word())
	w.run("INSERT INTO rpmsigs VALUES ($1, '', md5($2))", id, w.word())
	return id
}

// putInto tags a build, with its package if need be.
func (w *worker) putInto(build, tag string) {
	pkg := w.get("SELECT pkg_id FROM build WHERE id = $1", build)
	if w.get("SELECT count(*) FROM tag_packages WHERE package_id = $1 AND tag_id = $2 AND active", pkg, tag) == "0" {
		w.create("tag_packages", "package_id, tag_id", pkg, tag)
		if w.get("SELECT count(*) FROM tag_package_owners WHERE package_id = $1 AND tag_id = $2 AND active", pkg, tag) == "0" {
			w.create("tag_package_owners", "package_id, tag_id, owner", pkg, tag, w.user)
		}
	}
	w.create("tag_listing", "build_id, tag_id", build, tag)
}

func (w *worker) tag() string {
	return w.pick("SELECT tag_id FROM tag_config WHERE active ORDER BY 1")[0]
}

func (w *worker) packageNamed(name string) string {
	if p := w.pick("SELECT id FROM package WHERE name = $1", name); p != nil {
		return p[0]
	}
	return w.get("INSERT INTO package (name) VALUES ($1) RETURNING id", name)
}
