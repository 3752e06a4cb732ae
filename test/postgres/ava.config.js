/** The tests that need a PostgreSQL server: run.ts starts one for them. */
export default {
  extensions: ['ts'],
  files: ['test/postgres/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  workerThreads: false,
  concurrency: 1,
  timeout: '180s',
}
