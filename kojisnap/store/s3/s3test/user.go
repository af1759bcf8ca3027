package s3test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	kojis3 "kojisnap/kojisnap/store/s3"
)

// OpenAs opens the store at a URL of the gateway as a new user. The bucket's policy allows that user only
// some actions, such as s3:GetObject. OpenAs skips the test if the server is not a gateway of Start.
func (s *Server) OpenAs(t testing.TB, url string, actions ...string) *kojis3.Store {
	t.Helper()
	if s.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: its users are not ours to make")
	}
	binary, err := gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bucket := strings.Split(url, "/")[2]
	user, secret := bucket, "the-secret-of-"+bucket // a user for each bucket
	out, err := exec.CommandContext(t.Context(), binary, "admin", "--access", AccessKey, "--secret", SecretKey, "--region", Region,
		"--endpoint-url", s.Endpoint, "create-user", "--access", user, "--secret", secret, "--role", "user").CombinedOutput()
	if err != nil {
		t.Fatalf("create a user: %v: %s", err, out)
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]any{"AWS": []string{user}}, "Action": actions,
		"Resource": []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/*"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: aws.String(string(policy))}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", user)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	st, err := kojis3.Open(t.Context(), url, kojis3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
	return st
}
