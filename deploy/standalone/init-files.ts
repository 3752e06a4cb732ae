/** What `redoubt init` writes: two workloads that run as they are, to be replaced by the user's own. */
export interface InitFile {
  readonly name: string
  readonly text: string
}

const MESH = `# The mesh: its name, and what holds everywhere in it.
apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec:
  trustDomain: cluster.local
  # Every request is logged: redoubt logs default/api --access. Left out: refusals alone.
  accessLogFile: /dev/stdout
`

const WORKLOADS = `# Your processes. Redoubt starts each with a sidecar beside it, and tells it in its environment:
#   PORT              where to listen (on 127.0.0.1)
#   http_proxy        its sidecar: HTTP clients that honour it reach the services below by name
#   REDOUBT_OUTBOUND  the same as host:port
# Replace \`command\` by your own; or say where something already listens: \`address: 127.0.0.1:3000\`.
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: web, namespace: default, labels: { app: web } }
spec:
  serviceAccount: web
  ports: [{ name: http, port: 8080 }]
  run: { command: [node, hello.js], env: { NAME: web, CALLS: "http://api/" } }
  ready: { httpGet: { path: /healthz } }
---
apiVersion: redoubt.io/v1alpha1
kind: Workload
metadata: { name: api, namespace: default, labels: { app: api } }
spec:
  serviceAccount: api
  ports: [{ name: http, port: 8080 }]
  run: { command: [node, hello.js], env: { NAME: api } }
  ready: { httpGet: { path: /healthz } }
---
# The name by which others reach it: http://api/
apiVersion: v1
kind: Service
metadata: { name: api, namespace: default }
spec:
  selector: { app: api }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
`

const POLICY = `# Who may talk to whom. Edit and save: it is in force within a second.

# Only mTLS: a caller without an identity is refused.
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: default }
spec:
  mtls: { mode: STRICT }
---
# Nothing is allowed but what the policies below allow.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: allow-nothing, namespace: default }
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web-calls-api, namespace: default }
spec:
  selector: { matchLabels: { app: api } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: [cluster.local/ns/default/sa/web] } }]
      to: [{ operation: { methods: [GET] } }]
`

const HELLO = `// Says hello; with CALLS it asks another service first, through its sidecar. CommonJS or module: both work.
import('node:http').then(({ createServer, get }) => {
  const { NAME, CALLS, PORT, REDOUBT_OUTBOUND = '' } = process.env
  const [host, port] = REDOUBT_OUTBOUND.split(':')

  const ask = (url) =>
    new Promise((resolve, reject) => {
      get({ host, port, path: url, headers: { host: new URL(url).host } }, (response) => {
        let body = ''
        response.on('data', (chunk) => {
          body += chunk
        })
        response.on('end', () => resolve(\`\${response.statusCode} \${body}\`))
      }).on('error', reject)
    })

  createServer(async (request, response) => {
    if (request.url === '/healthz' || !CALLS) return response.end(\`hello from \${NAME}\\n\`)
    const answer = await ask(CALLS).catch((error) => \`failed: \${error.message}\\n\`)
    response.end(\`hello from \${NAME}; \${CALLS} says: \${answer}\`)
  }).listen(PORT, '127.0.0.1')
})
`

export const INIT_FILES: readonly InitFile[] = [
  { name: 'mesh.yaml', text: MESH },
  { name: 'workloads.yaml', text: WORKLOADS },
  { name: 'policy.yaml', text: POLICY },
  { name: 'hello.js', text: HELLO },
]
