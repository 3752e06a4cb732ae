/** What asks real Istio and Envoy: not part of `npm test`, run by `npm run test:oracle`. */
export default {
  extensions: ['ts'],
  files: ['test/oracle/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  workerThreads: false,
  concurrency: 1,
  timeout: '1200s',
}
