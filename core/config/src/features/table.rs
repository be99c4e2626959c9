//! Every feature gate that upstream's kubelet knows at v1.37, one line each:
//! `Name: stage, default, lock, where it matters, [gates it depends on];`
//!
//! Recorded from upstream's registry; `testdata/feature_gates.json` is the same record and a test compares
//! them.

use super::{Lock, Scope, Spec, Stage};

macro_rules! word {
    (on) => {
        true
    };
    (off) => {
        false
    };
    (locked) => {
        Lock::Locked
    };
    (free) => {
        Lock::Free
    };
    (kubelet) => {
        Scope::Kubelet
    };
    (elsewhere) => {
        Scope::Elsewhere
    };
}

macro_rules! gates {
    ($($name:ident: $stage:ident, $default:tt, $lock:tt, $scope:tt, [$($dep:ident),*];)*) => {
        /// A feature gate of Kubernetes v1.37, by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $(#[doc = concat!("The gate `", stringify!($name), "`.")] $name,)*
        }

        /// What is known of each gate, in the order of [`Feature`].
        pub(super) const SPECS: &[Spec] = &[
            $(Spec {
                feature: Feature::$name,
                name: stringify!($name),
                stage: Stage::$stage,
                default_on: word!($default),
                lock: word!($lock),
                scope: word!($scope),
                depends_on: &[$(Feature::$dep),*],
            },)*
        ];
    };
}

gates! {
    APIResponseCompression: Beta, on, free, elsewhere, [];
    APIServerIdentity: Beta, on, free, elsewhere, [];
    APIServerWebhookAuthenticationToken: Alpha, off, free, elsewhere, [];
    APIServingWithRoutine: Alpha, off, free, elsewhere, [];
    AggregatedDiscoveryRemoveBetaType: Deprecated, on, locked, elsewhere, [];
    AllowDNSOnlyNodeCSR: Deprecated, off, free, kubelet, [];
    AllowInsecureKubeletCertificateSigningRequests: Deprecated, off, free, elsewhere, [];
    AllowOverwriteTerminationGracePeriodSeconds: Deprecated, off, locked, elsewhere, [];
    AllowParsingUserUIDFromCertAuth: Beta, on, free, elsewhere, [];
    AllowServiceExternalIPs: Ga, on, free, elsewhere, [];
    AllowUnsafeMalformedObjectDeletion: Beta, on, free, elsewhere, [];
    AtomicFIFO: Beta, on, free, elsewhere, [];
    AtomicWriteVolumeUserFields: Alpha, off, free, kubelet, [];
    AuthorizePodWebsocketUpgradeCreatePermission: Beta, on, free, elsewhere, [];
    CBORServingAndStorage: Alpha, off, free, elsewhere, [];
    CPUManagerPolicyAlphaOptions: Alpha, off, free, kubelet, [];
    CPUManagerPolicyBetaOptions: Beta, on, free, kubelet, [];
    CPUManagerPolicyOptions: Ga, on, locked, kubelet, [];
    CRDObservedGenerationTracking: Beta, on, free, elsewhere, [];
    CRDValidationRatcheting: Ga, on, locked, elsewhere, [];
    CRIListStreaming: Alpha, off, free, kubelet, [];
    CSIServiceAccountTokenSecrets: Ga, on, locked, kubelet, [];
    CSIVolumeHealth: Alpha, off, free, kubelet, [];
    ChangeContainerStatusOnKubeletRestart: Deprecated, off, free, kubelet, [];
    ClearingNominatedNodeNameAfterBinding: Beta, on, free, elsewhere, [];
    ClientsAllowCARotation: Beta, on, free, elsewhere, [];
    ClientsAllowCBOR: Alpha, off, free, elsewhere, [];
    ClientsAllowTLSCacheGC: Beta, on, free, elsewhere, [];
    ClientsPreferCBOR: Alpha, off, free, elsewhere, [];
    CloudControllerManagerWatchBasedRoutesReconciliation: Alpha, off, free, elsewhere, [];
    CloudControllerManagerWebhook: Alpha, off, free, elsewhere, [];
    ClusterTrustBundle: Ga, on, free, kubelet, [];
    ClusterTrustBundleProjection: Ga, on, free, kubelet, [ClusterTrustBundle];
    ComponentFlagz: Beta, on, free, kubelet, [];
    ComponentStatusz: Beta, on, free, kubelet, [];
    CompositePodGroup: Alpha, off, free, elsewhere, [GenericWorkload, TopologyAwareWorkloadScheduling];
    ConcurrentWatchObjectDecode: Beta, on, free, elsewhere, [];
    ConsistentListFromCacheSkipTimeoutFallback: Alpha, off, free, elsewhere, [];
    ConstrainedImpersonation: Beta, on, free, elsewhere, [];
    ContainerCheckpoint: Beta, on, free, kubelet, [];
    ContainerRestartRules: Beta, on, free, kubelet, [];
    ContainerStopSignals: Alpha, off, free, kubelet, [];
    ContextualLogging: Beta, on, free, kubelet, [];
    ControllerManagerReleaseLeaderElectionLockOnExit: Alpha, off, free, elsewhere, [];
    CoordinatedLeaderElection: Beta, off, free, elsewhere, [];
    CrossNamespaceVolumeDataSource: Alpha, off, free, elsewhere, [];
    CustomCPUCFSQuotaPeriod: Ga, on, free, kubelet, [];
    CustomResourceFieldSelectors: Ga, on, locked, elsewhere, [];
    DRAAdminAccess: Ga, on, locked, elsewhere, [DynamicResourceAllocation];
    DRAConsumableCapacity: Beta, on, free, kubelet, [DynamicResourceAllocation];
    DRADerivedAttributes: Alpha, off, free, elsewhere, [DynamicResourceAllocation];
    DRADeviceBindingConditions: Beta, on, free, elsewhere, [DRAResourceClaimDeviceStatus, DynamicResourceAllocation];
    DRADeviceCompatibilityGroups: Alpha, off, free, elsewhere, [DRAPartitionableDevices, DynamicResourceAllocation];
    DRADeviceTaintRules: Ga, on, free, elsewhere, [DRADeviceTaints];
    DRADeviceTaints: Ga, on, free, elsewhere, [DynamicResourceAllocation];
    DRAExtendedResource: Ga, on, locked, kubelet, [DynamicResourceAllocation];
    DRAFractionalCapacityRange: Beta, off, free, elsewhere, [DRAConsumableCapacity];
    DRAListTypeAttributes: Alpha, off, free, elsewhere, [DynamicResourceAllocation];
    DRANodeAllocatableResources: Alpha, off, free, kubelet, [DynamicResourceAllocation];
    DRAOptionalNodeOperations: Alpha, off, free, kubelet, [DynamicResourceAllocation, NodeDeclaredFeatures];
    DRAPartitionableDevices: Beta, on, free, elsewhere, [DynamicResourceAllocation];
    DRAPartitionableDevicesType: Alpha, off, free, elsewhere, [DRAPartitionableDevices, DRAResourcePoolStatus, DynamicResourceAllocation];
    DRAPrioritizedList: Ga, on, locked, elsewhere, [DynamicResourceAllocation];
    DRAResourceClaimDeviceStatus: Ga, on, locked, elsewhere, [];
    DRAResourceClaimGranularStatusAuthorization: Beta, on, free, elsewhere, [DRAResourceClaimDeviceStatus, DynamicResourceAllocation];
    DRAResourcePoolStatus: Alpha, off, free, elsewhere, [DynamicResourceAllocation];
    DRASchedulerFilterTimeout: Beta, on, free, elsewhere, [DynamicResourceAllocation];
    DRAWorkloadResourceClaims: Beta, off, free, kubelet, [DynamicResourceAllocation, GenericWorkload];
    DeclarativeValidation: Ga, on, locked, elsewhere, [];
    DeclarativeValidationBeta: Beta, on, free, elsewhere, [DeclarativeValidation];
    DeclarativeValidationTakeover: Deprecated, off, locked, elsewhere, [DeclarativeValidation];
    DefaultPodSysctls: Alpha, off, free, kubelet, [];
    DeploymentReplicaSetTerminatingReplicas: Beta, on, free, elsewhere, [];
    DetectCacheInconsistency: Beta, on, free, elsewhere, [];
    DisableAllocatorDualWrite: Ga, on, locked, elsewhere, [MultiCIDRServiceAllocator];
    DisableCPUQuotaWithExclusiveCPUs: Deprecated, on, locked, kubelet, [];
    DisableNodeKubeProxyVersion: Deprecated, on, locked, kubelet, [];
    DynamicResourceAllocation: Ga, on, locked, kubelet, [];
    EmptyDirVolumeMode: Alpha, off, free, kubelet, [];
    EnvFiles: Beta, on, free, kubelet, [];
    EtcdRangeStream: Beta, on, free, elsewhere, [];
    EventedPLEG: Alpha, off, free, kubelet, [PLEGOnDemandRelist];
    EvictionRequestAPI: Alpha, off, free, elsewhere, [];
    ExcludeAdmissionWebhookVirtualResources: Beta, on, free, elsewhere, [];
    ExecProbeTimeout: Ga, on, locked, kubelet, [];
    ExtendWebSocketsToKubelet: Beta, on, free, kubelet, [NodeDeclaredFeatures];
    ExternalServiceAccountTokenSigner: Ga, on, locked, elsewhere, [];
    GRPCContainerProbeTLS: Alpha, off, free, kubelet, [];
    GenericWorkload: Beta, off, free, kubelet, [];
    GitRepoVolumeDriver: Deprecated, off, locked, kubelet, [];
    GracefulNodeShutdown: Beta, on, free, kubelet, [];
    GracefulNodeShutdownBasedOnPodPriority: Beta, on, free, kubelet, [GracefulNodeShutdown];
    H2CContainerProbe: Alpha, off, free, kubelet, [NodeDeclaredFeatures];
    HPAConfigurableTolerance: Ga, on, locked, elsewhere, [];
    HPAGeneration: Beta, on, free, elsewhere, [];
    HPAOptimizedSelectorStore: Beta, on, free, elsewhere, [];
    HPAScaleToZero: Beta, on, free, elsewhere, [];
    HostnameOverride: Ga, on, locked, kubelet, [];
    HugepageAwareEviction: Beta, on, free, kubelet, [];
    ImageMaximumGCAge: Ga, on, locked, kubelet, [];
    ImageVolume: Ga, on, locked, kubelet, [];
    ImageVolumeWithDigest: Alpha, off, free, kubelet, [ImageVolume];
    InOrderInformers: Ga, on, locked, elsewhere, [];
    InOrderInformersBatchProcess: Beta, on, free, elsewhere, [];
    InPlacePodLevelResourcesVerticalScaling: Beta, on, free, kubelet, [InPlacePodVerticalScaling, NodeDeclaredFeatures, PodLevelResources];
    InPlacePodVerticalScaling: Ga, on, locked, kubelet, [];
    InPlacePodVerticalScalingExclusiveCPUs: Alpha, off, free, kubelet, [InPlacePodVerticalScaling];
    InPlacePodVerticalScalingExclusiveMemory: Alpha, off, free, kubelet, [InPlacePodVerticalScaling];
    InPlacePodVerticalScalingInitContainers: Ga, on, locked, kubelet, [InPlacePodVerticalScaling, NodeDeclaredFeatures];
    InPlacePodVerticalScalingMemoryBackedVolumes: Alpha, off, free, kubelet, [InPlacePodVerticalScaling, NodeDeclaredFeatures];
    InPlacePodVerticalScalingSchedulerPreemption: Alpha, off, free, kubelet, [InPlacePodVerticalScaling];
    InformerResourceVersion: Ga, on, free, elsewhere, [];
    InterPodAffinityHostnameFastPath: Alpha, off, free, elsewhere, [];
    JobManagedBy: Ga, on, locked, elsewhere, [];
    KMSv1: Deprecated, off, free, elsewhere, [];
    KubeProxyIPVS: Deprecated, on, free, elsewhere, [];
    KubeProxyNFTablesLocalhostNodePorts: Alpha, off, free, elsewhere, [];
    KubeletAllocatedPodsEndpoint: Alpha, off, free, kubelet, [InPlacePodVerticalScaling];
    KubeletCgroupDriverFromCRI: Ga, on, locked, kubelet, [];
    KubeletCrashLoopBackOffMax: Beta, on, free, kubelet, [];
    KubeletEnsureSecretPulledImages: Beta, on, free, kubelet, [];
    KubeletFineGrainedAuthz: Ga, on, locked, kubelet, [];
    KubeletInUserNamespace: Beta, on, free, kubelet, [];
    KubeletPSI: Ga, on, locked, kubelet, [];
    KubeletPodResourcesDynamicResources: Ga, on, locked, kubelet, [];
    KubeletPodResourcesGet: Ga, on, locked, kubelet, [];
    KubeletPodResourcesListUseActivePods: Deprecated, on, free, kubelet, [];
    KubeletRegistrationGetOnExistsOnly: Deprecated, off, free, kubelet, [];
    KubeletSeparateDiskGC: Beta, on, free, kubelet, [];
    KubeletServiceAccountTokenForCredentialProviders: Beta, on, free, kubelet, [];
    KubeletTracing: Ga, on, locked, kubelet, [];
    ListFromCacheSnapshot: Beta, on, free, elsewhere, [];
    LocalStorageCapacityIsolationFSQuotaMonitoring: Beta, off, free, kubelet, [];
    LoggingAlphaOptions: Alpha, off, free, kubelet, [];
    LoggingBetaOptions: Beta, on, free, kubelet, [];
    ManifestBasedAdmissionControlConfig: Beta, on, free, elsewhere, [];
    MatchLabelKeysInPodAffinity: Ga, on, locked, elsewhere, [];
    MatchLabelKeysInPodTopologySpread: Beta, on, free, elsewhere, [];
    MatchLabelKeysInPodTopologySpreadSelectorMerge: Beta, on, free, elsewhere, [MatchLabelKeysInPodTopologySpread];
    MaxUnavailableStatefulSet: Beta, on, free, elsewhere, [];
    MemoryQoS: Beta, on, free, kubelet, [];
    MultiCIDRServiceAllocator: Ga, on, locked, elsewhere, [];
    MutableCSINodeAllocatableCount: Ga, on, locked, kubelet, [];
    MutablePVNodeAffinity: Alpha, off, free, elsewhere, [];
    MutablePodResourcesForSuspendedJobs: Beta, on, free, elsewhere, [];
    MutableSchedulingDirectivesForSuspendedJobs: Beta, on, free, elsewhere, [];
    MutatingAdmissionPolicy: Ga, on, free, elsewhere, [];
    NFTablesNetlink: Beta, on, free, elsewhere, [];
    NFTablesProxyMode: Ga, on, locked, elsewhere, [];
    NativeHistograms: Beta, on, free, kubelet, [];
    NodeControllerLeaseCircuitBreaker: Beta, on, free, elsewhere, [AtomicFIFO];
    NodeDeclaredFeatures: Ga, on, locked, kubelet, [];
    NodeInclusionPolicyInPodTopologySpread: Ga, on, locked, elsewhere, [];
    NodeLifecycleConditions: Alpha, off, free, kubelet, [];
    NodeLogQuery: Ga, on, locked, kubelet, [];
    NodeSwap: Ga, on, locked, kubelet, [];
    NominatedNodeNameForExpectation: Beta, on, free, elsewhere, [];
    OpenAPIEnums: Beta, on, free, elsewhere, [];
    OpportunisticBatching: Beta, on, free, elsewhere, [];
    PLEGOnDemandRelist: Ga, on, locked, kubelet, [];
    PersistentVolumeClaimUnusedSinceTime: Beta, on, free, elsewhere, [];
    PodAndContainerStatsFromCRI: Beta, off, free, kubelet, [];
    PodCertificateRequest: Ga, on, free, kubelet, [];
    PodDeletionCost: Beta, on, free, elsewhere, [];
    PodGroupPreemptionPolicy: Alpha, off, free, elsewhere, [GenericWorkload];
    PodLevelResourceManagers: Beta, off, free, kubelet, [PodLevelResources];
    PodLevelResources: Beta, on, free, kubelet, [];
    PodLevelResourcesFixDefaulting: Beta, on, free, kubelet, [PodLevelResources];
    PodLevelResourcesFixKubeletQOSClass: Beta, on, free, kubelet, [PodLevelResources];
    PodLogsQuerySplitStreams: Alpha, off, free, kubelet, [];
    PodObservedGenerationTracking: Ga, on, locked, kubelet, [];
    PodReadyToStartContainersCondition: Ga, on, locked, kubelet, [];
    PodSchedulingReadiness: Ga, on, locked, elsewhere, [];
    PodTopologyLabelsAdmission: Beta, on, free, elsewhere, [];
    PodsAPI: Beta, on, free, kubelet, [];
    PortForwardWebsockets: Beta, on, free, kubelet, [];
    PreferSameTrafficDistribution: Ga, on, locked, elsewhere, [];
    ProcMountType: Ga, on, locked, kubelet, [UserNamespacesSupport];
    QOSReserved: Alpha, off, free, kubelet, [];
    RecoverVolumeExpansionFailure: Ga, on, locked, kubelet, [];
    RecursiveReadOnlyMounts: Ga, on, locked, kubelet, [];
    ReduceDefaultCrashLoopBackOffDecay: Alpha, off, free, kubelet, [];
    RelaxedEnvironmentVariableValidation: Ga, on, locked, kubelet, [];
    RelaxedServiceNameValidation: Ga, on, locked, elsewhere, [];
    ReloadKubeletClientCAFile: Beta, on, free, kubelet, [];
    ReloadKubeletServerCertificateFile: Beta, on, free, kubelet, [];
    RemoteRequestHeaderUID: Beta, on, free, elsewhere, [];
    ResourceHealthStatus: Beta, on, free, kubelet, [DynamicResourceAllocation];
    ResourceHealthStatusMessage: Beta, on, free, kubelet, [ResourceHealthStatus];
    RestartAllContainersOnContainerExits: Beta, on, free, kubelet, [ContainerRestartRules, NodeDeclaredFeatures];
    RotateKubeletServerCertificate: Beta, on, free, kubelet, [];
    RuntimeClassInImageCriApi: Alpha, off, free, kubelet, [];
    SELinuxChangePolicy: Ga, on, locked, kubelet, [];
    SELinuxMount: Ga, on, free, kubelet, [];
    SELinuxMountReadWriteOncePod: Ga, on, locked, kubelet, [];
    SchedulerAsyncAPICalls: Beta, off, free, elsewhere, [];
    SchedulerAsyncPreemption: Beta, on, free, elsewhere, [];
    SchedulerPopFromBackoffQ: Beta, on, free, elsewhere, [];
    SchedulerPreQueueingHints: Alpha, off, free, elsewhere, [];
    SeparateCacheWatchRPC: Deprecated, off, locked, elsewhere, [];
    SeparateTaintEvictionController: Ga, on, locked, elsewhere, [];
    ServiceAccountNodeAudienceRestriction: Beta, on, free, kubelet, [];
    ServiceAccountTokenJTI: Ga, on, locked, elsewhere, [];
    ServiceAccountTokenNodeBinding: Ga, on, locked, elsewhere, [ServiceAccountTokenNodeBindingValidation];
    ServiceAccountTokenNodeBindingValidation: Ga, on, locked, elsewhere, [];
    ServiceAccountTokenPodNodeInfo: Ga, on, locked, elsewhere, [];
    ServiceCIDRStatusFieldWiping: Deprecated, on, free, elsewhere, [];
    ShardedListAndWatch: Alpha, off, free, elsewhere, [];
    SizeBasedListCostEstimate: Beta, on, free, elsewhere, [];
    StaleControllerConsistencyDaemonSet: Beta, on, free, elsewhere, [AtomicFIFO];
    StaleControllerConsistencyHPA: Beta, on, free, elsewhere, [AtomicFIFO];
    StaleControllerConsistencyJob: Beta, on, free, elsewhere, [AtomicFIFO];
    StaleControllerConsistencyReplicaSet: Beta, on, free, elsewhere, [AtomicFIFO];
    StaleControllerConsistencyStatefulSet: Beta, on, free, elsewhere, [AtomicFIFO];
    StatefulSetRecreateStrategy: Alpha, off, free, elsewhere, [];
    StatefulSetSemanticRevisionComparison: Beta, on, free, elsewhere, [];
    StorageCapacityScoring: Beta, on, free, elsewhere, [];
    StorageNamespaceIndex: Deprecated, on, free, elsewhere, [];
    StorageVersionAPI: Alpha, off, free, elsewhere, [APIServerIdentity];
    StorageVersionHash: Beta, on, free, elsewhere, [];
    StorageVersionMigrator: Ga, on, free, elsewhere, [];
    StrictIPCIDRValidation: Beta, on, free, elsewhere, [];
    StructuredAuthenticationConfigurationEgressSelector: Beta, on, free, elsewhere, [];
    StructuredAuthenticationConfigurationJWKSMetrics: Beta, on, free, elsewhere, [];
    SupplementalGroupsPolicy: Ga, on, locked, kubelet, [];
    SystemdWatchdog: Ga, on, locked, kubelet, [];
    TaintTolerationComparisonOperators: Alpha, off, free, kubelet, [];
    TokenRequestServiceAccountUIDValidation: Beta, on, free, elsewhere, [];
    TopologyAwareWorkloadScheduling: Alpha, off, free, elsewhere, [GenericWorkload];
    TopologyManagerPolicyAlphaOptions: Alpha, off, free, kubelet, [];
    TopologyManagerPolicyBetaOptions: Beta, on, free, kubelet, [];
    TopologyManagerPolicyOptions: Ga, on, locked, kubelet, [];
    TranslateStreamCloseWebsocketRequests: Beta, on, free, elsewhere, [];
    UnauthenticatedHTTP2DOSMitigation: Beta, on, free, elsewhere, [];
    UnknownVersionInteroperabilityProxy: Beta, on, free, elsewhere, [APIServerIdentity];
    UnlockWhileProcessingFIFO: Beta, on, free, elsewhere, [];
    UserNamespacesHostNetworkSupport: Alpha, off, free, kubelet, [NodeDeclaredFeatures, UserNamespacesSupport];
    UserNamespacesSupport: Ga, on, locked, kubelet, [];
    VolumeAttributesClass: Ga, on, locked, elsewhere, [];
    VolumeBindMountOptions: Alpha, off, free, kubelet, [];
    VolumeLimitScaling: Beta, on, free, kubelet, [];
    WatchCacheInitializationPostStartHook: Ga, on, locked, elsewhere, [];
    WatchList: Beta, on, free, elsewhere, [];
    WatchListClient: Beta, on, free, kubelet, [];
    WatchListCompression: Beta, on, free, elsewhere, [];
    WebhookRoundTripLoadBalancing: Beta, on, free, elsewhere, [];
    WinDSR: Ga, on, locked, elsewhere, [];
    WinOverlay: Ga, on, locked, elsewhere, [];
    WindowsCPUAndMemoryAffinity: Alpha, off, free, elsewhere, [];
    WindowsGracefulNodeShutdown: Beta, on, free, elsewhere, [GracefulNodeShutdown];
    WindowsHostNetwork: Deprecated, off, free, elsewhere, [];
    WorkloadWithJob: Alpha, off, free, elsewhere, [GenericWorkload];
}
