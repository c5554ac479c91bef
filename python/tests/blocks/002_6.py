from client import KVClient

with KVClient() as client:
    # Prepare batch data
    keys = [f'product:{i}' for i in range(1000)]
    values = [f'Product {i}' for i in range(1000)]
    
    # Batch insert
    client.batch_put(keys, values)
    print("Loaded 1000 products")
