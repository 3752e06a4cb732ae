// Writes a root and an intermediate into a directory, as Go makes them by default, in the layout of
// Istio's cacerts: key identifiers by SHA-256, the key in the older form of EC keys.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

func main() {
	rootKey, key := newKey(), newKey()
	rootDer := sign(template(1, "root"), template(1, "root"), &rootKey.PublicKey, rootKey)
	root, err := x509.ParseCertificate(rootDer)
	must(err)
	der := sign(template(2, "mesh"), root, &key.PublicKey, rootKey)
	keyDer, err := x509.MarshalECPrivateKey(key)
	must(err)
	write("root-cert.pem", "CERTIFICATE", rootDer)
	write("ca-cert.pem", "CERTIFICATE", der)
	write("cert-chain.pem", "CERTIFICATE", der)
	write("ca-key.pem", "EC PRIVATE KEY", keyDer)
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(240 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func sign(one, by *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, one, by, public, key)
	must(err)
	return der
}

func write(name, kind string, der []byte) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	must(os.WriteFile(filepath.Join(os.Args[1], name), text, 0o600))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
