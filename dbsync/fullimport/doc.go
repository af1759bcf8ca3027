// Package fullimport is the fast way to load a snapshot of everything into a fresh staging database. The merge of
// package dbsync compares each row with what is there; here nothing is.
//
// Production's names and the rows that an overlay or staging's own rows bear upon go through the merge as ever. The
// large relations (Relations) are copied straight into Koji's tables:
//
//  1. In one transaction the names are merged, and the mark is set (kojisnap.import) with the definitions of all
//     indexes and foreign keys that are to go. From then on ReadMark of package book refuses the database.
//  2. Indexes and foreign keys go.
//  3. Several sessions copy a table each, and make the indexes again, each in a transaction that also records
//     it. Then the foreign keys are added, and validated.
//  4. In one transaction the merge does all the rest, finds that nothing of the copied relations has changed, and clears
//     the mark.
//
// It is not one commit, so only a database to which nothing was loaded will do (Unfit). If it is broken off, the next
// load of the snapshot goes on: a table that was not recorded is copied again.
//
// Who works on an import has written its session into the mark, and each of its transactions locks that row. So a load
// that takes over waits until those of the one before have ended.
package fullimport

import (
	"slices"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// names are the relations that are copied: neither names, which may have other ids here, nor those with rows that an
// overlay changes or adds.
var names = []string{"events", "tag_packages", "tag_package_owners", "build", "build_types", "maven_builds", "win_builds", "image_builds", "tag_listing",
	"rpminfo", "rpmsigs", "archiveinfo", "maven_archives", "win_archives", "image_archives", "archive_rpm_components", "archive_components"}

// checksums is copied, too, if the snapshot has it and staging's Koji the table.
const checksums = "rpm_checksum"

// Relations returns the relations that an import of a snapshot copies, in the catalogue's order.
func Relations(l *loadtx.Load) (out []*relation.Relation) {
	out = copiedRelations(l)
	if rel := relation.Get(checksums); !l.Snap.Manifest.HasRelation(rel) {
		out = slices.DeleteFunc(out, func(r *relation.Relation) bool { return r == rel })
	}
	return out
}

// copiedRelations returns those that the import of any snapshot may copy.
func copiedRelations(l *loadtx.Load) (out []*relation.Relation) {
	for _, name := range names {
		out = append(out, relation.Get(name))
	}
	if _, there := l.Schema.Tables[checksums]; there {
		out = append(out, relation.Get(checksums))
	}
	return out
}

// table names Koji's table, with its schema.
func table(l *loadtx.Load, r *relation.Relation) string {
	return sqltext.QuoteIdent(l.Schema.Namespace) + "." + sqltext.QuoteIdent(r.Name)
}

// placedVolume has the volumes of builds.
const placedVolume = "kojisnap.placed_volume"

// tables names all tables whose indexes go: Koji's, and kojisnap's lists of their rows.
func tables(l *loadtx.Load) (out []string) {
	for _, r := range copiedRelations(l) {
		out = append(out, table(l, r))
		if kojidb.Keyed(r) {
			out = append(out, book.PlacedKeys(r))
		}
	}
	return append(out, placedVolume)
}
