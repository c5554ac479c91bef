LSMEngine(
    db_folder="lsm_db",      # Database directory
    capacity=100,            # MemTable size before flush
    sparsity_index=10        # Index every Nth key
)
