package pull_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/tagged"
)

// reply is a methodResponse with a value.
func reply(value string) []byte {
	return []byte("<?xml version='1.0'?>\n<methodResponse><params><param><value>" + value + "</value></param></params></methodResponse>")
}

// results is the reply to a multicall of n calls that all have one result.
func results(n int, value string) []byte {
	return reply("<array><data>" + strings.Repeat("<value><array><data><value>"+value+"</value></data></array></value>", n) + "</data></array>")
}

// calledIn returns how many calls a multicall has.
func calledIn(x *exchange) int { return bytes.Count(x.asked, []byte("<name>methodName</name>")) }

// withoutMember removes a member from all structs.
func withoutMember(body []byte, name string) []byte {
	return regexp.MustCompile(`(?s)<member>\s*<name>`+regexp.QuoteMeta(name)+`</name>\s*<value>.{0,200}?</value>\s*</member>`).ReplaceAll(body, nil)
}

// withMember replaces the value of a member in all structs.
func withMember(body []byte, name, value string) []byte {
	return regexp.MustCompile(`(?s)(<name>`+regexp.QuoteMeta(name)+`</name>\s*<value>).{0,200}?(</value>)`).ReplaceAll(body, []byte("${1}"+value+"${2}"))
}

// askedTable finds the table that queryHistory is asked for.
var askedTable = regexp.MustCompile(`<name>tables</name>\s*<value>\s*<array>\s*<data>\s*<value><string>(\w+)`)

// TestPullWrongReply: replies that are well-formed but not what the method answers are never skipped.
func TestPullWrongReply(t *testing.T) {
	t.Parallel()
	const (
		text = "<string>see\nthe \x7f manual</string>"
		huge = "<i8>1099511627776</i8>"
	)
	one := func(value string) func(*exchange) []byte { return func(*exchange) []byte { return reply(value) } }
	each := func(value string) func(*exchange) []byte {
		return func(x *exchange) []byte {
			if x.method == "multiCall" {
				return results(calledIn(x), value)
			}
			return reply(value)
		}
	}
	lacks := func(name string) func(*exchange) []byte {
		return func(x *exchange) []byte { return withoutMember(x.body, name) }
	}
	has := func(name, value string) func(*exchange) []byte {
		return func(x *exchange) []byte { return withMember(x.body, name, value) }
	}
	for _, test := range []struct {
		method, what string
		spoil        func(*exchange) []byte
		says         []string
	}{
		{"getKojiVersion", "number", one("<int>1</int>"), []string{"getKojiVersion", "is no version"}},
		{"getEvent", "text", one(text), []string{"is not an event"}},
		{"getEvent", "nil", one("<nil/>"), []string{"is not an event"}},
		{"getEvent", "no ts", lacks("ts"), []string{"is not an event"}},
		{"getEvent", "id too large", has("id", huge), []string{"1099511627776", "does not fit an integer"}},
		{"getEvent", "endless time", has("ts", "<double>inf</double>"), []string{"not a time"}},
		{"getTag", "text", one(text), []string{`tag "f42-infra"`, "getTag", "is not a tag"}},
		{"getTag", "no id", lacks("id"), []string{`tag "f42-infra"`, "getTag", "is not a tag"}},
		{"getTag", "id too large", has("id", huge), []string{"1099511627776", "does not fit an integer"}},
		{"getTag", "no name", lacks("name"), []string{"tag", "empty"}},
		{"getInheritanceData", "text", each(text), []string{"inheritance of tag", "not a list"}},
		{"getInheritanceData", "nil", each("<nil/>"), []string{"inheritance of tag", "not a list"}},
		{"getInheritanceData", "no parent", each("<array><data><value><struct></struct></value></data></array>"), []string{"inheritance of tag", "no parent"}},
		{"getInheritanceData", "nothing", func(x *exchange) []byte { return results(calledIn(x)-1, "<array><data></data></array>") }, []string{"results for"}},
		{"listBTypes", "nil", one("<nil/>"), []string{"listBTypes", "nil"}},
		{"listBTypes", "no name", lacks("name"), []string{"build type without id and name"}},
		{"queryHistory", "text", one(text), []string{"history of tag", "queryHistory"}},
		{"queryHistory", "other table", one("<struct><member><name>user_perms</name><value><array><data><value><nil/></value></data></array></value></member></struct>"), []string{"history of tag", `answered "user_perms"`}},
		{"queryHistory", "table nil", one("<struct><member><name>tag_config</name><value><nil/></value></member></struct>"), []string{"history of tag", `table "tag_config"`}},
		{"queryHistory", "rows of text", func(x *exchange) []byte {
			return reply("<struct><member><name>" + string(askedTable.FindSubmatch(x.asked)[1]) + "</name><value><array><data><value>text</value></data></array></value></member></struct>")
		}, []string{"history of tag", "a row without create_event"}},
		{"queryHistory", "no tag_id", lacks("tag_id"), []string{"history of tag", "tag_id", "no such member"}},
		{"queryHistory", "no create_event", lacks("create_event"), []string{"history of tag", "a row without create_event"}},
		{"queryHistory", "creator too large", has("creator_id", huge), []string{"history of tag", "creator_id", "1099511627776 does not fit an integer"}},
		{"queryHistory", "creator as text", has("creator_id", "<string>1</string>"), []string{"history of tag", "creator_id", "not a number"}},
		{"getBuild", "text", each(text), []string{"getBuild of ", "answered build 0"}},
		{"getBuild", "nil", each("<nil/>"), []string{"tagged in the scope, but the hub has no such build"}},
		{"getBuild", "another build", has("build_id", "<int>7</int>"), []string{"getBuild of ", "answered build 7"}},
		{"getBuild", "package too large", has("package_id", huge), []string{"package", "1099511627776 does not fit an integer"}},
		{"getBuild", "no owner", lacks("owner_id"), []string{"build.owner", "no such member", `build_id="`}},
		{"getBuild", "types as text", func(x *exchange) []byte {
			return regexp.MustCompile(`(?s)<struct>\s*<member>\s*<name>rpm</name>.*?</struct>`).ReplaceAll(x.body, []byte("<string>rpm</string>"))
		}, []string{"getBuildType", "not its types"}},
		{"listRPMs", "rows of text", each("<array><data><value>text</value></data></array>"), []string{"rpminfo.id", "no such member"}},
		{"listRPMs", "nil", each("<nil/>"), []string{"rpminfo.id", "no such member"}},
		{"queryRPMSigs", "nil", each("<nil/>"), []string{"rpmsigs.rpm_id", "no such member"}},
		{"listArchives", "nil", each("<nil/>"), []string{"archiveinfo.id", "no such member"}},
		{"getBuildType", "nil", func(x *exchange) []byte {
			return regexp.MustCompile(`(?s)<struct>\s*<member>\s*<name>rpm</name>.*?</struct>`).ReplaceAll(x.body, []byte("<nil/>"))
		}, []string{"getBuildType", "not its types"}},
		{"listRPMs", "no size", lacks("size"), []string{"rpminfo.size", "no such member", `id="`}},
		{"listRPMs", "id too large", has("id", huge), []string{"rpminfo.id", "1099511627776 does not fit an integer"}},
		{"queryRPMSigs", "no sighash", lacks("sighash"), []string{"rpmsigs.sighash", "no such member"}},
		{"listArchives", "no checksum", lacks("checksum"), []string{"archiveinfo.checksum", "no such member"}},
		{"getTagExternalRepos", "nil", each("<nil/>"), []string{"external repos", "arches", "not text"}},
		{"listUsers", "no id", lacks("id"), []string{"listUsers", "users.id", "no such member"}},
		{"listVolumes", "struct", one("<struct></struct>"), []string{"listVolumes", "not an array"}},
	} {
		t.Run(test.method+" "+test.what, func(t *testing.T) {
			p, _ := badHub(t, hubtest.Options{})
			spoiled := 0
			p.after = func(x *exchange) {
				if x.calls(test.method) {
					was := x.body
					x.body = test.spoil(x)
					if !bytes.Equal(x.body, was) {
						spoiled++
					}
				}
			}
			err := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.bad(t, test.says...)
			if hub.Temporary(err) {
				t.Errorf("temporary: %v", err)
			}
			p.between(func() {
				if spoiled == 0 {
					t.Error("nothing was spoiled")
				}
			})
		})
	}
}

// TestPullHostileText: production has text that breaks XML, paths, lines or COPY. If the hub cannot send the
// name of a tag of the scope, the pull ends: everything in the tag depends on it. What Koji can send arrives
// unchanged. (TestPullOdd tests text that keeps a part back.)
func TestPullHostileText(t *testing.T) {
	t.Parallel()
	for table, set := range map[string]hubtest.Values{"tag": {"name": "f\x0242"}, "tag_config": {"arches": "x86\x02_64"}} {
		p, rows := badHub(t, hubtest.Options{})
		where := hubtest.Values{"name": "f42"}
		if table == "tag_config" {
			tag, err := rows.Select("tag", where)
			if err != nil {
				t.Fatal(err)
			}
			where = hubtest.Values{"tag_id": tag[0]["id"], "active": true}
		}
		if n, err := rows.Update(table, where, set); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Tags: []string{"f42-compose"}}} // it inherits from badTag
		if err := b.bad(t, "U+0002", "production"); hub.Temporary(err) {
			t.Errorf("temporary: %v", err)
		}
	}

	// All of this is valid text.
	odd := "o'dd \"name\"\t\\N \\. <&amp;> \u2028 \u202e ü 🜁 \\\n$(x)"
	p, rows := badHub(t, hubtest.Options{})
	for table, set := range map[string]hubtest.Values{
		"users": {"name": odd}, "permissions": {"description": odd}, "channels": {"comment": odd},
	} {
		id := map[string]int{"users": 1, "permissions": 1, "channels": 1}[table]
		if n, err := rows.Update(table, hubtest.Values{"id": id}, set); n != 1 || err != nil {
			t.Fatal(table, n, err)
		}
	}
	b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}
	_, snap := b.open(t)
	for table, column := range map[string]string{"users": "name", "permissions": "description", "channels": "comment"} {
		found := false
		err := tagged.Each(t.Context(), snap, table, func(r tagged.Row) { found = found || r.Text(column) == odd })
		if err != nil || !found {
			t.Errorf("%s.%s is not there as it is, %v", table, column, err)
		}
	}
}

// TestPullNotUTF8: bytes that are no text, in one rpm's row among many, leave that rpm out.
func TestPullNotUTF8(t *testing.T) {
	t.Parallel()
	p, _ := badHub(t, hubtest.Options{})
	builds := goodBuilds(t)
	var rpm tsvRow
	for _, r := range readTSV(t, "rpminfo") {
		if slices.Contains(builds, number(r["build_id"])) {
			rpm = r
		}
	}
	p.after = func(x *exchange) {
		if x.calls("listRPMs") {
			x.body = bytes.ReplaceAll(x.body, []byte(rpm["payloadhash"]), []byte(rpm["payloadhash"][1:]+"\xff"))
		}
	}
	r, snap := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.open(t)
	if len(r.LeftOut) != 1 || r.LeftOut[0].ID != number(rpm["id"]) || !strings.Contains(r.LeftOut[0].String(), "payloadhash: byte 0xff is not UTF-8") {
		t.Errorf("left out: %+v", r.LeftOut)
	}
	c, _ := pulltest.Production(t, hubtest.Options{})
	good := allRows(t, pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, badTag))
	good.without(map[string][]string{"rpminfo": {rpm["id"]}}).hold(t, allRows(t, snap))
}

// TestPullNeverEnds: replies never end. Endless rows end at the pull's deadline; an endless text, value, name
// or tag becomes too long.
func TestPullNeverEnds(t *testing.T) {
	row := "<value><struct><member><name>tag_id</name><value><int>0</int></value></member></struct></value>"
	const limit = "of more than 100000 bytes"
	head := "<?xml version='1.0'?><methodResponse><params><param><value>"
	for name, test := range map[string]struct {
		begin, again string
		late         bool
		says         string
	}{
		"rows":   {head + "<struct><member><name>TABLE</name><value><array><data>", row, true, "not done within 300ms"},
		"spaces": {head, "      ", false, limit},
		"text":   {head + "<struct><member><name>TABLE</name><value><array><data><value><string>", "more and ", false, limit},
		"values": {head + "<struct><member><name>TABLE</name><value><array><data><value><array><data>", "<value/>", false, limit},
		"name":   {head + "<struct><member><name>", "tag_config", false, "of more than 65536 bytes"},
		"tag":    {head + "<", "string", false, "reply of queryHistory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // two wait for their deadlines
			p, _ := badHub(t, hubtest.Options{})
			again := []byte(strings.Repeat(test.again, 1000))
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(asked))
				if !bytes.Contains(asked, []byte("queryHistory")) {
					p.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "text/xml")
				begin := test.begin
				if m := askedTable.FindSubmatch(asked); m != nil {
					begin = strings.Replace(begin, "TABLE", string(m[1]), 1)
				}
				for _, err = io.WriteString(w, begin); err == nil; {
					_, err = w.Write(again)
				}
			}))
			t.Cleanup(srv.Close)
			c, err := hub.New(srv.URL, hub.Options{RetryInterval: 1, MaxReply: 100_000})
			if err != nil {
				t.Fatal(err)
			}
			b := badPull{client: c, store: pulltest.NewStore(t)}
			if test.late {
				b.opt.Deadline = 300 * time.Millisecond
			}
			if err := b.bad(t, test.says); errors.Is(err, context.DeadlineExceeded) != test.late {
				t.Errorf("deadline exceeded: %v", err)
			}
		})
	}
}
