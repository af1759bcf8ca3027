package s3test

import (
	"os"
	"testing"
)

// TestProcess: where there is no Docker the gateway runs as a process.
func TestProcess(t *testing.T) {
	if os.Getenv("KOJISNAP_TEST_S3") != "" {
		t.Skip("KOJISNAP_TEST_S3 is given: no server is needed")
	}
	binary, err := gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	candidates, stop, err := process(binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	endpoint, err := answering(t.Context(), candidates)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Endpoint: endpoint}
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey, "AWS_REGION": Region} {
		t.Setenv(name, value)
	}
	if entries, err := s.Open(t).List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
