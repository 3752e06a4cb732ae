module redoubt.io/clients/go-pki

go 1.25.0
