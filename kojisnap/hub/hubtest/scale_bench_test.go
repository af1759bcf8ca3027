package hubtest_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
)

// scaled is a hub for benchmarks: 2,000 builds in the tag (or KOJISNAP_BENCH_BUILDS), and ten times as many
// outside.
func scaled(b *testing.B) *hubtest.Memory {
	b.Helper()
	builds := 2000
	if s := os.Getenv("KOJISNAP_BENCH_BUILDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		builds = n
	}
	return makeHub(b, generate.Options{Seed: 1, Builds: builds})
}

func BenchmarkScaleAnswers(b *testing.B) {
	m := scaled(b)
	hub := hubtest.New(m, hubtest.Options{})
	asList := `<member><name>asList</name><value><boolean>1</boolean></value></member>`
	page := `<struct><member><name>order</name><value><string>id</string></value></member>
		<member><name>limit</name><value><int>20000</int></value></member>
		<member><name>offset</name><value><int>9000</int></value></member></struct>`
	var many []string
	for i := range 1000 {
		many = append(many, inner("queryRPMSigs", named("rpm_id", "<int>"+strconv.Itoa(1+i*11)+"</int>")))
	}
	for _, test := range []struct {
		name, method string
		params       []string
	}{
		{"listTaggedRPMS", "listTaggedRPMS", []string{f42}},
		{"queryHistory", "queryHistory", []string{named("tables", "<array><data><value><string>tag_listing</string></value></data></array>", "tag", f42)}},
		{"queryRPMSigs by key", "queryRPMSigs", []string{named("sigkey", "<string>"+generate.Key+"</string>")}},
		{"queryRPMSigs by key as lists", "queryRPMSigs", []string{named("sigkey", "<string>"+generate.Key+"</string>",
			"queryOpts", "<struct>"+asList+"</struct>")}},
		{"listRPMs page", "listRPMs", []string{named("queryOpts", page)}},
		{"queryRPMSigs of 1000 rpms", "multiCall", []string{multi(many...)}},
		{"getBuild", "getBuild", []string{"<int>1000</int>"}},
	} {
		b.Run(test.name, func(b *testing.B) {
			body := document(test.method, test.params...)
			for b.Loop() {
				w := &counter{}
				hub.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/kojihub", strings.NewReader(body)))
				if w.n < 500 {
					b.Fatalf("%d bytes", w.n)
				}
				b.SetBytes(w.n)
			}
		})
	}
}

// counter is a response that keeps only its length.
type counter struct {
	n      int64
	header http.Header
}

func (c *counter) Header() http.Header {
	if c.header == nil {
		c.header = http.Header{}
	}
	return c.header
}
func (c *counter) WriteHeader(int)             {}
func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := scaled(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		rpms, err := m.Select("build", hubtest.Values{"id": 1})
		if err != nil || len(rpms) != 1 {
			b.Fatal(rpms, err)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
	}
}
