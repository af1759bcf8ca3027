package hub

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/kolo/xmlrpc"
)

// enlarge repeats the rows of a reply (the elements of its first array of
// structs) until they have some size bytes.
func enlarge(t testing.TB, reply []byte, size int) []byte {
	t.Helper()
	open, end := []byte("<array><data>\n<value><struct>"), []byte("</struct></value>\n</data></array>")
	from, to := bytes.Index(reply, open), bytes.Index(reply, end)
	if from < 0 || to < from {
		t.Fatal("no array of structs")
	}
	from += len("<array><data>\n")
	to += len("</struct></value>\n")
	rows := reply[from:to]
	return bytes.Join([][]byte{reply[:from], bytes.Repeat(rows, max(1, size/len(rows))), reply[to:]}, nil)
}

// Streaming four times as much allocates no more.
func TestStreamMemoryIsFlat(t *testing.T) {
	r := find(t, "listBuilds.all")
	for _, size := range []int{4 << 20, 16 << 20} {
		reply := enlarge(t, r.response, size)
		rows := 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := newDecoder(r.Method, bytes.NewReader(reply), 1<<20).stream(func(r Row) error {
			if _, ok := r.Get("build_id").Int(); ok {
				rows++
			}
			return nil
		})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err != nil || rows < size/5000 || used > 512<<10 {
			t.Errorf("%d rows of %d bytes: %d bytes allocated, %v", rows, len(reply), used, err)
		}
	}
}

// BenchmarkDecode decodes replies of some MB, as this package streams them, into
// a Value, and by kolo/xmlrpc's decoder.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"listTaggedRPMS.f42-inherit-latest", "listBuilds.all", "queryHistory.tag_listing"} {
		reply := enlarge(b, find(b, name).response, 8<<20)
		run := func(how string, decode func(*decoder) error) {
			b.Run(fmt.Sprintf("%s/%s", name, how), func(b *testing.B) {
				b.SetBytes(int64(len(reply)))
				b.ReportAllocs()
				for b.Loop() {
					if err := decode(newDecoder(name, bytes.NewReader(reply), 1<<30)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("stream", func(d *decoder) error {
			if name == "listBuilds.all" {
				return d.stream(func(Row) error { return nil })
			}
			return d.streamTables(func(string, Row) error { return nil })
		})
		run("whole", func(d *decoder) error {
			_, err := d.whole()
			return err
		})
		b.Run(name+"/kolo", func(b *testing.B) {
			b.SetBytes(int64(len(reply)))
			b.ReportAllocs()
			for b.Loop() {
				var v any
				if err := xmlrpc.Response(reply).Err(); err != nil {
					b.Fatal(err)
				}
				if err := xmlrpc.Response(reply).Unmarshal(&v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
