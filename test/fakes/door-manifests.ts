/** The mesh of gateway tests: `web` in two versions behind a door that strangers come in by. */

/** All but the workloads of `web`, its routes and who may come in; `hosts` are those of the gateway. */
export const doorManifests = (hosts: string): string => `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web, namespace: shop }
spec: { host: web, subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }] }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: door, namespace: edge, labels: { istio: ingressgateway } }
spec: { serviceAccount: door, ports: [{ name: http, port: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: door, namespace: edge }
spec: { selector: { istio: ingressgateway }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: door, namespace: edge }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['${hosts}'] }]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
---`
