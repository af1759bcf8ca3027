// Package shardplan plans a copy of all builds of a snapshot: it reads the snapshot once, relation by relation in the order of
// their keys, and gives the rows to a shard.Spool. Its memory does not grow with the number of rows: only the names of packages
// and volumes are kept.
package shardplan

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/volumes"
)

// Rows are those of a relation in the order of its key, as snapfile.Rows gives them.
type Rows interface {
	Next() bool
	Fields(row [][]byte) ([][]byte, error)
	Err() error
	Close() error
}

// Source gives the rows of relations: a snapshot.
type Source func(ctx context.Context, relation string) Rows

// Of is the Source of a snapshot.
func Of(snap *snapfile.Snapshot) Source {
	return func(ctx context.Context, name string) Rows { return snap.Rows(ctx, name) }
}

// Complete is the state of builds that have files (koji.BUILD_STATES).
const complete = 1

// Volumes returns the names of production's volumes.
func Volumes(ctx context.Context, from Source) (names []string, err error) {
	err = each(ctx, from, "volume", func(r *reader) error {
		names = append(names, r.text("name"))
		return r.err
	})
	return names, err
}

// Fill reads all complete builds with the rows of their files into a spool. It returns the keys that sign rpms, in lower case.
func Fill(ctx context.Context, from Source, to *shard.Spool) (keys map[string]bool, err error) {
	packages, volumeNames := map[int64]string{}, map[int64]string{}
	for name, names := range map[string]map[int64]string{"package": packages, "volume": volumeNames} {
		err := each(ctx, from, name, func(r *reader) error { names[r.int("id")] = r.text("name"); return r.err })
		if err != nil {
			return nil, err
		}
	}
	err = each(ctx, from, "build", func(r *reader) error {
		if r.int("state") != complete || r.err != nil {
			return r.err
		}
		id := r.int("id")
		name, ok := packages[r.int("pkg_id")]
		if !ok {
			return fmt.Errorf("build %d: its package %d is not in the snapshot", id, r.int("pkg_id"))
		}
		b := volumes.Build{Name: name, Version: r.text("version"), Release: r.text("release"), Volume: volumeNames[r.int("volume_id")]}
		if r.err != nil {
			return r.err
		}
		return to.Build(id, b)
	})
	if err != nil {
		return nil, err
	}
	keys = map[string]bool{}
	if err := rpms(ctx, from, to, keys); err != nil {
		return nil, err
	}
	return keys, archives(ctx, from, to)
}

// rpms adds the rpms with their signatures. Both relations are sorted by the rpm's id.
func rpms(ctx context.Context, from Source, to *shard.Spool, keys map[string]bool) error {
	sigs := open(ctx, from, "rpmsigs")
	defer sigs.rows.Close()
	var r volumes.RPMFile
	return each(ctx, from, "rpminfo", func(row *reader) error {
		if row.null("build_id") { // of an external repo
			return nil
		}
		id := row.int("id")
		r = volumes.RPMFile{RPM: volumes.RPM{Name: row.text("name"), Version: row.text("version"), Release: row.text("release"), Arch: row.text("arch")},
			Size: row.int("size"), PayloadHash: row.text("payloadhash"), MetadataOnly: row.bool("metadata_only"), Sigs: r.Sigs[:0]}
		ok, err := sigs.upTo("rpm_id", id)
		for ; ok && err == nil; ok, err = sigs.following("rpm_id", id) {
			if key := sigs.field("sigkey"); !keys[string(key)] {
				keys[strings.ToLower(string(key))] = true
			}
			r.Sigs = append(r.Sigs, volumes.Signature{Key: sigs.text("sigkey"), Hash: sigs.text("sighash")})
		}
		if err != nil {
			return err
		}
		build := row.int("build_id")
		if row.err != nil {
			return row.err
		}
		return to.RPM(build, id, &r)
	})
}

// archives adds the archives. What gives their paths is sorted by the archive's id, as they are.
func archives(ctx context.Context, from Source, to *shard.Spool) error {
	btypes := map[int64]string{}
	err := each(ctx, from, "btype", func(r *reader) error { btypes[r.int("id")] = r.text("name"); return r.err })
	if err != nil {
		return err
	}
	maven, win := open(ctx, from, "maven_archives"), open(ctx, from, "win_archives")
	defer maven.rows.Close()
	defer win.rows.Close()
	return each(ctx, from, "archiveinfo", func(row *reader) error {
		id := row.int("id")
		a := volumes.ArchiveFile{BType: btypes[row.int("btype_id")], Size: row.int("size"), Checksum: row.text("checksum"),
			ChecksumType: int(row.int("checksum_type")), MetadataOnly: row.bool("metadata_only")}
		file := row.text("filename")
		switch a.BType {
		case "maven":
			var of [3]string
			ok, err := maven.upTo("archive_id", id)
			if err != nil {
				return err
			}
			if ok {
				of = [3]string{maven.text("group_id"), maven.text("artifact_id"), maven.text("version")}
			}
			a.Path, a.Err = volumes.MavenPath(of[0], of[1], of[2], file)
		case "win":
			path := ""
			ok, err := win.upTo("archive_id", id)
			if err != nil {
				return err
			}
			if ok {
				path = win.text("relpath")
			}
			a.Path, a.Err = volumes.WinPath(path, file)
		case "image":
			a.Path, a.Err = volumes.ImagePath(file)
		default:
			a.Path, a.Err = volumes.TypePath(a.BType, file)
		}
		if a.Err != nil {
			a.Err = fmt.Errorf("archive %d: %w", id, a.Err)
		}
		build := row.int("build_id")
		if row.err != nil {
			return row.err
		}
		return to.Archive(build, id, &a)
	})
}

// reader reads the rows of a relation, with columns by name.
type reader struct {
	rows    Rows
	columns map[string]int
	fields  [][]byte
	name    string
	err     error // of a field that is no number
	at      bool  // on a row
	ended   bool
}

func open(ctx context.Context, from Source, name string) *reader {
	r := &reader{rows: from(ctx, name), columns: map[string]int{}, name: name}
	rel := relation.Get(name)
	for i := range rel.Columns {
		r.columns[rel.Columns[i].Name] = i
	}
	return r
}

// each calls f for each row.
func each(ctx context.Context, from Source, name string, f func(*reader) error) error {
	r := open(ctx, from, name)
	defer r.rows.Close()
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if ok, err := r.next(); err != nil || !ok {
			return err
		}
		if err := f(r); err != nil {
			return fmt.Errorf("relation %s: %w", name, err)
		}
	}
}

func (r *reader) next() (bool, error) {
	if r.ended || !r.rows.Next() {
		r.at, r.ended = false, true
		return false, r.rows.Err()
	}
	var err error
	r.fields, err = r.rows.Fields(r.fields)
	r.at = err == nil
	return r.at, err
}

// upTo reads on until the row with this key, of which there may be several; ok tells whether there is one.
func (r *reader) upTo(key string, id int64) (ok bool, err error) {
	for {
		if !r.at {
			if ok, err := r.next(); err != nil || !ok {
				return false, err
			}
		}
		switch at := r.int(key); {
		case r.err != nil:
			return false, fmt.Errorf("relation %s: %w", r.name, r.err)
		case at >= id:
			return at == id, nil
		}
		r.at = false
	}
}

// following reads the next row, if it has the same key.
func (r *reader) following(key string, id int64) (ok bool, err error) {
	r.at = false
	return r.upTo(key, id)
}

func (r *reader) field(column string) []byte {
	i, ok := r.columns[column]
	if !ok {
		panic("relation " + r.name + " has no column " + column)
	}
	return r.fields[i]
}

func (r *reader) text(column string) string { return string(r.field(column)) }
func (r *reader) null(column string) bool   { return r.field(column) == nil }
func (r *reader) bool(column string) bool   { return string(r.field(column)) == "t" }

// int is 0 for NULL.
func (r *reader) int(column string) int64 {
	f := r.field(column)
	if f == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(f), 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("column %s: %q is no number", column, f)
	}
	return n
}
