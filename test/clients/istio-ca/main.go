// What Istio's agent asks of its certificate authority, by the stubs that Istio publishes.
//
//	istioca ADDRESS ROOTS [CHAIN KEY]
//
// Prints the number of elements of the answer and the name that was issued; the last line is PASS.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	pb "istio.io/api/security/v1alpha1"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("code:", status.Code(err))
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
	fmt.Println("PASS")
}

func run() error {
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return errors.New("no roots")
	}
	config := &tls.Config{InsecureSkipVerify: true, VerifyConnection: verifyBy(roots)} // a CA without a DNS name
	if len(os.Args) > 5 {
		config = &tls.Config{RootCAs: roots, ServerName: os.Args[5]} // as Istio's agents do
	}
	if len(os.Args) > 4 {
		pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer connection.Close()
	request, err := newRequest()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("ClusterID", "Kubernetes"))
	answer, err := pb.NewIstioCertificateServiceClient(connection).CreateCertificate(ctx, request)
	if err != nil {
		return err
	}
	return show(answer.CertChain)
}

// The key and the wishes of Istio's agent: names in the request, an empty signer in its metadata.
func newRequest() (*pb.IstioCertificateRequest, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	wish := &url.URL{Scheme: "spiffe", Host: "elsewhere.example", Path: "/ns/other/sa/other"}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{wish}}, key)
	if err != nil {
		return nil, err
	}
	signer, err := structpb.NewStruct(map[string]any{"CertSigner": ""})
	return &pb.IstioCertificateRequest{
		Csr:              string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		ValidityDuration: 3600,
		Metadata:         signer,
	}, err
}

// As Istio's agent reads the answer: the last element is the roots, the rest a chain from the leaf.
func show(chain []string) error {
	fmt.Println("elements:", len(chain))
	if len(chain) < 2 {
		return errors.New("no chain")
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(chain[len(chain)-1]))
	for _, text := range chain[1 : len(chain)-1] {
		intermediates.AppendCertsFromPEM([]byte(text))
	}
	block, _ := pem.Decode([]byte(chain[0]))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: usages}); err != nil {
		return err
	}
	fmt.Println("name:", leaf.URIs[0])
	return nil
}

func verifyBy(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, each := range state.PeerCertificates[1:] {
			intermediates.AddCert(each)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
		return err
	}
}
